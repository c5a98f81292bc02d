/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for one asynchronous thing, in programs that have nothing else to do. */
#pragma once

#include "kube/client.h"

struct kube_wait {
    struct kube_client *client;
    bool done;
    json_t *body;
    struct error error;
};

/* A kube_answer_function; its context is the wait. */
void kube_wait_function(const struct kube_answer *answer, const struct error *error, void *context);

/* Runs the loop until the function was called, or a signal came (basic/interrupt.h): "interrupted",
 * and what was begun has to be cancelled. 0 or the error; `ret_body` may be NULL. */
int kube_wait_run(struct kube_wait *wait, json_t **ret_body, struct error *error);
