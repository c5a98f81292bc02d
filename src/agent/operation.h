/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carrying an order out. Runs in a process of its own, which has all rights and outlives the agent;
 * whatever the workload has to be told at once is told here, so that it does not depend on an
 * agent either.
 *
 * A result is a JSON object: "ok"; when not: "code", "message", "cure"; and what there is of
 * "snapshot", "path", "bytes", "seconds", "frozen_seconds", "phases", "pid", "container_id",
 * "snapshots", "notes" (sentences that people should see), "already" (there was nothing to do),
 * "not_running" (no attempt was made: the container does not run), "ended" (the container was
 * killed), "final" (another attempt would end the same way, or the workload was told that there
 * will be none).
 */
#pragma once

#include <jansson.h>

#include "agent/order.h"
#include "agent/settings.h"
#include "basic/reporter.h"
#include "container/runtime.h"

/* Never NULL. */
json_t *operation_run(const struct order *order, const struct agent_settings *settings);

/* For the files operation-*.c: */

struct operation {
    const struct order *order;
    const struct agent_settings *settings;
    struct container container;
    char *base;  /* where snapshots are, as this process sees it */
    char *claim; /* a mount to be taken away again; NULL: none */
    struct reporter reporter;
    json_t *result;
};

int operation_capture(struct operation *operation, struct error *error);
int operation_restore(struct operation *operation, struct error *error);
int operation_tell(struct operation *operation, struct error *error);

/* The rest of operation_tell() for a restore, whose own process was killed before it could. */
int operation_tell_restore(struct operation *operation, struct error *error);
int operation_list(struct operation *operation, struct error *error);

/* Finds the container of the order, and makes sure that it is of that very pod. */
int operation_find(struct operation *operation, struct error *error);

/* An order that is only to be told of a problem: that, as an error. */
int operation_refuse(struct operation *operation, struct error *error);

/* Finds out where the snapshots are (operation-claim.c). */
int operation_open_base(struct operation *operation, struct error *error);
void operation_close_base(struct operation *operation);

/* Whether the workload is to be told of this failure; notes so in the result. */
bool operation_is_final(struct operation *operation, const struct error *failure);

/* Adds a sentence to the result. */
void operation_note(struct operation *operation, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
