/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's loop: pods of the node come in from the API server, orders go out to the executor,
 * results come back and are told to the world. It has no rights on the machine.
 */
#pragma once

#include "agent/metrics.h"
#include "agent/order.h"
#include "agent/settings.h"
#include "kube/client.h"

struct reconciler;

struct reconciler_options {
    struct loop *loop;
    struct kube_client *client; /* stays the caller's; NULL: no API server (signalSource http) */
    const struct agent_settings *settings;
    int channel; /* to the executor; becomes the reconciler's */
    struct metrics *metrics;
    void (*broken)(const struct error *error, void *context); /* the executor is gone */
    void *context;
};

int reconciler_new(const struct reconciler_options *options, struct reconciler **ret,
                   struct error *error);
void reconciler_free(struct reconciler *reconciler);

/* Whether the pods of the node are known. */
bool reconciler_is_synced(const struct reconciler *reconciler);

/* Whether the API server was heard from lately (or there is none to hear from). */
bool reconciler_is_connected(const struct reconciler *reconciler);

/* For the HTTP API. `order` (with no key yet; borrowed) is carried out; `done` gets its result,
 * once. */
typedef void reconciler_result_function(const json_t *result, void *context);
void reconciler_ask(struct reconciler *reconciler, const struct order *order,
                    reconciler_result_function *done, void *context);

/* Numbers of the moment, for metrics. */
struct reconciler_numbers {
    size_t pods, running[2], queued[2]; /* by enum wish_kind */
};

struct reconciler_numbers reconciler_numbers(const struct reconciler *reconciler);
