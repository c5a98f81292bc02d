/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/update.h"

#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/call.h"
#include "kube/errors.h"

enum { ATTEMPTS = 8, PAUSE_LEAST_MSEC = 20, PAUSE_MOST_MSEC = 5000 };

struct kube_update {
    struct kube_client *client;
    struct kube_update_options options;
    char *path, *collection, *uid;
    json_t *initial;
    struct kube_handle *handle;
    struct loop_source *timer;
    unsigned attempt;
};

static void update_free(struct kube_update *update)
{
    kube_cancel(update->handle);
    loop_source_free(update->timer);
    json_decref(update->initial);
    free(update->path);
    free(update->collection);
    free(update->uid);
    free(update);
}

void kube_update_cancel(struct kube_update *update)
{
    if (update)
        update_free(update);
}

static void conclude(struct kube_update *update, const struct kube_answer *answer,
                     const struct error *error)
{
    struct kube_update_options options = update->options;

    update_free(update);
    options.done(answer, error, options.context);
}

static void fail(struct kube_update *update, const char *code, const char *message)
{
    const struct kube_answer nothing = {0};
    struct error error = ERROR_INIT;

    kube_error_set(&error, code, "%s: %s", update->path, message);
    conclude(update, &nothing, &error);
    error_done(&error);
}

/* What may go better on what the server has by then. */
static bool may_go_better(const struct error *error)
{
    return error_is(error, "kube-conflict") || error_is(error, "kube-exists") ||
           error_is(error, "kube-unreachable") || error_is(error, "kube-timeout") ||
           error_is(error, "kube-server") || error_is(error, "kube-throttled");
}

static void failed(struct kube_update *update, const struct kube_answer *answer,
                   const struct error *error)
{
    uint64_t pause = (uint64_t)PAUSE_LEAST_MSEC << update->attempt;
    struct loop *loop = kube_client_loop(update->client);

    if (++update->attempt >= update->options.attempts || !may_go_better(error)) {
        conclude(update, answer, error);
        return;
    }
    if (pause > PAUSE_MOST_MSEC)
        pause = PAUSE_MOST_MSEC;
    if (answer->retry_after_msec > pause)
        pause = answer->retry_after_msec;
    loop_timer_set(update->timer, loop_now(loop) + pause * 1000);
}

static void receive_written(const struct kube_answer *answer, const struct error *error,
                            void *context)
{
    struct kube_update *update = context;

    update->handle = NULL;
    if (error)
        failed(update, answer, error);
    else
        conclude(update, answer, NULL);
}

static void write_object(struct kube_update *update, const json_t *object, bool create)
{
    const struct kube_request request = {.method = create ? "POST" : "PUT",
                                         .path = create ? update->collection : update->path,
                                         .body = object};

    kube_send(update->client, &request, receive_written, update, &update->handle);
}

/* Modifies a copy, so that the tree that was read is what "nothing to do" ends with. */
static void modify(struct kube_update *update, const json_t *read, bool create)
{
    struct kube_answer answer = {.status = 200};
    json_t *object = json_deep_copy(read);
    struct error error = ERROR_INIT;
    int r = update->options.modify(object, update->options.context, &error);

    if (r < 0) {
        conclude(update, &answer, &error);
    } else if (r > 0 || create) {
        write_object(update, object, create);
    } else {
        answer.body = object;
        conclude(update, &answer, NULL);
    }
    json_decref(object);
    error_done(&error);
}

static void receive_read(const struct kube_answer *answer, const struct error *error, void *context)
{
    struct kube_update *update = context;

    update->handle = NULL;
    if (error && error_is(error, "kube-not-found") && update->initial)
        modify(update, update->initial, true);
    else if (error)
        failed(update, answer, error);
    else if (!answer->body)
        fail(update, "kube-protocol", "the answer is empty");
    else if (update->uid && !text_equal(update->uid, kube_uid(answer->body)))
        fail(update, "kube-conflict", "another object has that name now");
    else
        modify(update, answer->body, false);
}

static void read_object(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct kube_update *update = context;
    const struct kube_request request = {.path = update->path};

    (void)source;
    (void)now_usec;
    kube_send(update->client, &request, receive_read, update, &update->handle);
}

struct kube_update *kube_update_start(struct kube_client *client,
                                      const struct kube_update_options *options)
{
    struct kube_update *update = allocate(sizeof *update);
    const struct kube_reference *reference = &options->reference;

    update->client = client;
    update->options = *options;
    if (!update->options.attempts)
        update->options.attempts = ATTEMPTS;
    update->path = kube_path(reference->resource, reference->namespace, reference->name,
                             reference->subresource);
    update->collection = kube_path(reference->resource, reference->namespace, NULL, NULL);
    update->uid = options->uid && *options->uid ? text_copy(options->uid) : NULL;
    update->initial = options->initial ? json_deep_copy(options->initial) : NULL;
    loop_add_timer(kube_client_loop(client), LOOP_NEVER, read_object, update, &update->timer);
    read_object(update->timer, 0, update);
    return update;
}

/* The caller's modify function with its own context, and our waiting. */
struct update_call {
    struct kube_wait wait;
    kube_modify_function *modify;
    void *context;
};

static int call_modify(json_t *object, void *context, struct error *error)
{
    const struct update_call *call = context;

    return call->modify(object, call->context, error);
}

static void call_done(const struct kube_answer *answer, const struct error *error, void *context)
{
    struct update_call *call = context;

    kube_wait_function(answer, error, &call->wait);
}

int kube_update_call(struct kube_client *client, const struct kube_update_options *options,
                     json_t **ret_object, struct error *error)
{
    struct update_call call = {
        .wait = {.client = client}, .modify = options->modify, .context = options->context};
    struct kube_update_options own = *options;
    struct kube_update *update;
    int r;

    own.modify = call_modify;
    own.done = call_done;
    own.context = &call;
    update = kube_update_start(client, &own);
    r = kube_wait_run(&call.wait, ret_object, error);
    if (!call.wait.done)
        kube_update_cancel(update);
    return r;
}
