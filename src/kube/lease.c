/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/lease.h"

#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/errors.h"
#include "kube/object.h"

enum {
    DURATION_SEC = 15,
    DURATION_MAXIMUM_SEC = 3600, /* of what another one has written */
    RELEASE_MSEC = 5000,
    RETRY_MSEC = 500,
};

struct kube_lease {
    struct kube_client *client;
    struct loop *loop;
    struct kube_lease_options options;
    char *path, *collection, *namespace, *name, *holder;
    json_t *labels, *owners;

    struct kube_handle *handle;
    struct loop_source *timer;  /* the next step */
    struct loop_source *expiry; /* when we stop believing */

    bool held;
    uint64_t sent_usec;     /* when the write on its way was sent */
    uint64_t believe_until; /* while held */
    char *acquired;         /* date of ours */

    /* What was seen last. */
    char *version; /* resource version; NULL: there is no lease */
    uint64_t version_seen_usec;
    int64_t transitions;

    void (*released)(void *context);
};

static uint64_t duration_usec(const struct kube_lease *lease)
{
    return (uint64_t)lease->options.duration_sec * 1000000;
}

static void wait_for(struct kube_lease *lease, uint64_t usec)
{
    loop_timer_set(lease->timer, loop_now(lease->loop) + usec);
}

bool kube_lease_held(const struct kube_lease *lease)
{
    return lease->held && loop_now(lease->loop) < lease->believe_until;
}

/* Last thing in whatever calls it: the function may free the lease. */
static void lose(struct kube_lease *lease, const struct error *error)
{
    lease->held = false;
    loop_timer_set(lease->expiry, LOOP_NEVER);
    if (lease->options.once)
        loop_timer_set(lease->timer, LOOP_NEVER);
    lease->options.lost(error, lease->options.context);
}

static void lose_because(struct kube_lease *lease, const char *code, const char *what)
{
    struct error error = ERROR_INIT;

    kube_error_set(&error, code, "Lease %s/%s: %s", lease->namespace, lease->name, what);
    lose(lease, &error);
    error_done(&error);
}

static void expiry_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    (void)source;
    (void)now_usec;
    lose_because(context, "kube-lease-lost", "it could not be renewed in time");
}

/* Notes the version that is there, and since when it was seen. */
static void note_version(struct kube_lease *lease, const json_t *object)
{
    const char *version = kube_resource_version(object);

    lease->transitions = kube_number(object, "spec", "leaseTransitions");
    if (text_equal(lease->version, version))
        return;
    free(lease->version);
    lease->version = text_copy(version);
    lease->version_seen_usec = loop_now(lease->loop);
}

static void failed(struct kube_lease *lease, const struct kube_answer *answer,
                   const struct error *error)
{
    uint64_t pause = (uint64_t)RETRY_MSEC * 1000;

    if (answer->retry_after_msec > RETRY_MSEC)
        pause = (uint64_t)answer->retry_after_msec * 1000;
    if (pause > duration_usec(lease) / 3)
        pause = duration_usec(lease) / 3;
    wait_for(lease, pause);
    if (lease->options.once && !lease->held)
        lose(lease, error);
}

static void written(struct kube_lease *lease, const json_t *object)
{
    bool before = lease->held;

    note_version(lease, object);
    lease->believe_until = lease->sent_usec + duration_usec(lease) / 3 * 2;
    if (loop_now(lease->loop) >= lease->believe_until) { /* an answer from long ago */
        loop_timer_set(lease->timer, 0);
        return;
    }
    lease->held = true;
    loop_timer_set(lease->expiry, lease->believe_until);
    loop_timer_set(lease->timer, lease->sent_usec + duration_usec(lease) / 3);
    if (!before && lease->options.acquired)
        lease->options.acquired(lease->options.context);
}

static void receive_written(const struct kube_answer *answer, const struct error *error,
                            void *context)
{
    struct kube_lease *lease = context;

    lease->handle = NULL;
    if (!error) {
        written(lease, answer->body);
        return;
    }
    free(STEAL_PTR(lease->version)); /* whatever is there now has to be read */
    if (error_is(error, "kube-conflict") || error_is(error, "kube-exists") ||
        error_is(error, "kube-not-found"))
        loop_timer_set(lease->timer, 0);
    else
        failed(lease, answer, error);
}

static json_t *make_spec(struct kube_lease *lease)
{
    CLEANUP(free_ptr) char *now = kube_micro_time(loop_date(lease->loop));

    if (!lease->held) {
        free(lease->acquired);
        lease->acquired = text_copy(now);
    }
    return json_pack("{s:s,s:i,s:s,s:s,s:I}", "holderIdentity", lease->holder,
                     "leaseDurationSeconds", (int)lease->options.duration_sec, "acquireTime",
                     lease->acquired, "renewTime", now, "leaseTransitions",
                     (json_int_t)lease->transitions + !lease->held);
}

static void send_write(struct kube_lease *lease, const struct kube_request *request)
{
    lease->sent_usec = loop_now(lease->loop);
    kube_send(lease->client, request, receive_written, lease, &lease->handle);
}

static void create(struct kube_lease *lease)
{
    json_t *body = json_pack("{s:s,s:s,s:{s:s,s:s},s:o}", "apiVersion", "coordination.k8s.io/v1",
                             "kind", "Lease", "metadata", "name", lease->name, "namespace",
                             lease->namespace, "spec", make_spec(lease));
    const struct kube_request request = {.method = "POST",
                                         .path = lease->collection,
                                         .body = body,
                                         .timeout_msec = lease->options.duration_sec * 1000 / 3};

    if (lease->labels)
        (void)json_object_set(json_object_get(body, "metadata"), "labels", lease->labels);
    if (lease->owners)
        (void)json_object_set(json_object_get(body, "metadata"), "ownerReferences", lease->owners);
    send_write(lease, &request);
    json_decref(body);
}

/* Only on the version that we know. */
static void take(struct kube_lease *lease)
{
    json_t *body = json_pack("{s:{s:s},s:o}", "metadata", "resourceVersion", lease->version, "spec",
                             make_spec(lease));
    const struct kube_request request = {.method = "PATCH",
                                         .path = lease->path,
                                         .content_type = KUBE_MERGE_PATCH,
                                         .body = body,
                                         .timeout_msec = lease->options.duration_sec * 1000 / 3};

    send_write(lease, &request);
    json_decref(body);
}

static uint64_t others_duration(const json_t *object)
{
    int64_t seconds = kube_number(object, "spec", "leaseDurationSeconds");

    if (seconds < 1)
        seconds = 1;
    return (uint64_t)(seconds < DURATION_MAXIMUM_SEC ? seconds : DURATION_MAXIMUM_SEC) * 1000000;
}

/* For those who don't want to wait: whether its dates say that it is over. */
static bool looks_over(const struct kube_lease *lease, const json_t *object)
{
    const char *text = kube_text(object, "spec", "renewTime");
    int64_t renewed = 0;

    return !text || kube_time_parse(text, &renewed) < 0 ||
           renewed + (int64_t)others_duration(object) < loop_date(lease->loop);
}

static void see_other(struct kube_lease *lease, const json_t *object)
{
    uint64_t now = loop_now(lease->loop), over = lease->version_seen_usec + others_duration(object);
    uint64_t look = now + duration_usec(lease) / 5;

    if (now >= over) {
        take(lease);
        return;
    }
    loop_timer_set(lease->timer, over < look ? over : look);
    if (lease->held || (lease->options.once && !looks_over(lease, object)))
        lose_because(lease, "kube-lease-held", "another one holds it");
}

static void receive_read(const struct kube_answer *answer, const struct error *error, void *context)
{
    struct kube_lease *lease = context;
    const char *holder;

    lease->handle = NULL;
    if (error && error_is(error, "kube-not-found")) {
        free(STEAL_PTR(lease->version));
        lease->transitions = 0;
        create(lease);
        return;
    }
    if (error) {
        failed(lease, answer, error);
        return;
    }
    note_version(lease, answer->body);
    holder = kube_text(answer->body, "spec", "holderIdentity");
    if (!holder || !*holder || text_equal(holder, lease->holder))
        take(lease);
    else
        see_other(lease, answer->body);
}

static void read_lease(struct kube_lease *lease)
{
    const struct kube_request request = {.path = lease->path,
                                         .timeout_msec = lease->options.duration_sec * 1000 / 3};

    kube_send(lease->client, &request, receive_read, lease, &lease->handle);
}

static void timer_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct kube_lease *lease = context;

    (void)source;
    (void)now_usec;
    if (lease->held && lease->version)
        take(lease);
    else
        read_lease(lease);
}

struct kube_lease *kube_lease_new(struct kube_client *client,
                                  const struct kube_lease_options *options)
{
    struct kube_lease *lease = allocate(sizeof *lease);

    lease->client = client;
    lease->loop = kube_client_loop(client);
    lease->options = *options;
    if (!lease->options.duration_sec)
        lease->options.duration_sec = DURATION_SEC;
    lease->namespace = text_copy(options->namespace);
    lease->name = text_copy(options->name);
    lease->holder = text_copy(options->holder);
    lease->labels = options->labels ? json_deep_copy(options->labels) : NULL;
    lease->owners = options->owners ? json_deep_copy(options->owners) : NULL;
    lease->path = kube_path(&kube_leases, lease->namespace, lease->name, NULL);
    lease->collection = kube_path(&kube_leases, lease->namespace, NULL, NULL);
    loop_add_timer(lease->loop, 0, timer_function, lease, &lease->timer);
    loop_add_timer(lease->loop, LOOP_NEVER, expiry_function, lease, &lease->expiry);
    return lease;
}

static void receive_released(const struct kube_answer *answer, const struct error *error,
                             void *context)
{
    struct kube_lease *lease = context;

    (void)answer;
    (void)error;
    lease->handle = NULL;
    if (lease->released)
        lease->released(lease->options.context);
}

static void nothing_to_release(struct loop_source *source, uint64_t now_usec, void *context)
{
    (void)source;
    (void)now_usec;
    receive_released(NULL, NULL, context);
}

void kube_lease_release(struct kube_lease *lease, void (*released)(void *context))
{
    bool was_held = lease->held && lease->version;
    struct kube_request request = {.method = "PATCH",
                                   .path = lease->path,
                                   .content_type = KUBE_MERGE_PATCH,
                                   .timeout_msec = RELEASE_MSEC};
    json_t *body;

    lease->held = false;
    lease->released = released;
    kube_cancel(STEAL_PTR(lease->handle));
    loop_timer_set(lease->expiry, LOOP_NEVER);
    loop_source_free(lease->timer);
    lease->timer = NULL;
    if (!was_held) {
        loop_add_timer(lease->loop, 0, nothing_to_release, lease, &lease->timer);
        return;
    }
    body = json_pack("{s:{s:s},s:{s:s,s:i}}", "metadata", "resourceVersion", lease->version, "spec",
                     "holderIdentity", "", "leaseDurationSeconds", 1);
    request.body = body;
    kube_send(lease->client, &request, receive_released, lease, &lease->handle);
    json_decref(body);
}

void kube_lease_free(struct kube_lease *lease)
{
    if (!lease)
        return;
    kube_cancel(lease->handle);
    loop_source_free(lease->timer);
    loop_source_free(lease->expiry);
    json_decref(lease->labels);
    json_decref(lease->owners);
    free(lease->path);
    free(lease->collection);
    free(lease->namespace);
    free(lease->name);
    free(lease->holder);
    free(lease->acquired);
    free(lease->version);
    free(lease);
}
