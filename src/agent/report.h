/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the world hears what has become of a work: annotations of the pod and its Job, a condition of
 * the pod. All of it says what is, so it may be said again; an outcome is reported until the API
 * server has heard it or the pod is gone.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "agent/protocol.h"
#include "kube/client.h"

struct report;

enum report_state { REPORT_RUNNING, REPORT_SUCCEEDED, REPORT_FAILED };

/* All texts are copied. */
struct report_options {
    const struct pod *pod;
    const struct wish *wish;
    enum report_state state;
    const char *container_id; /* may be NULL */
    const char *message;      /* for people */
    /* `gone`: there is no such pod any more. NULL error: all was heard. */
    void (*done)(const struct error *error, bool gone, void *context);
    void *context;
};

/* `done` is called once, later; it may free the report. */
struct report *report_start(struct kube_client *client, const struct report_options *options);

/* NULL is accepted. */
void report_free(struct report *report);
