/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/call.h"

#include "basic/cleanup.h"
#include "basic/interrupt.h"
#include "kube/errors.h"

enum { INTERRUPT_USEC = 250000 };

void kube_wait_function(const struct kube_answer *answer, const struct error *error, void *context)
{
    struct kube_wait *wait = context;

    wait->done = true;
    wait->body = json_incref(answer->body);
    if (error)
        kube_error_set(&wait->error, error->code, "%s", error->message);
    loop_stop(kube_client_loop(wait->client), 0);
}

static void look_for_interrupt(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct kube_wait *wait = context;

    if (interrupt_check(&wait->error) < 0)
        loop_stop(kube_client_loop(wait->client), 0);
    else
        loop_timer_set(source, now_usec + INTERRUPT_USEC);
}

int kube_wait_run(struct kube_wait *wait, json_t **ret_body, struct error *error)
{
    struct loop *loop = kube_client_loop(wait->client);
    struct loop_source *timer;
    int r;

    loop_add_timer(loop, 0, look_for_interrupt, wait, &timer);
    while (!wait->done && !wait->error.code)
        (void)loop_run(loop);
    loop_source_free(timer);
    if (!wait->error.code) {
        if (ret_body)
            *ret_body = STEAL_PTR(wait->body);
        json_decref(wait->body);
        return 0;
    }
    json_decref(wait->body);
    r = kube_errno(wait->error.code);
    error_move(error, &wait->error);
    return r;
}

int kube_call(struct kube_client *client, const struct kube_request *request, json_t **ret_body,
              struct error *error)
{
    struct kube_wait wait = {.client = client};
    struct kube_handle *handle = NULL;
    int r;

    kube_send(client, request, kube_wait_function, &wait, &handle);
    r = kube_wait_run(&wait, ret_body, error);
    if (!wait.done)
        kube_cancel(handle);
    return r;
}
