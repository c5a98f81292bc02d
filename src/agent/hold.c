/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hold.h"

#include <stdlib.h>

#include "agent/say.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/lease.h"
#include "kube/object.h"

enum { DURATION_SEC = 30, REMOVALS_MOST = 8, RETRY_USEC = 500000 };

struct holds {
    struct kube_client *client;
    char *holder;
    struct hold *list;
};

struct hold {
    struct hold *next;
    struct holds *holds;
    char *namespace, *job;
    struct kube_lease *lease;
    struct kube_handle *removal;
    struct loop_source *again;
    unsigned removals;
    bool dropped;
};

struct holds *holds_new(struct kube_client *client, const char *node)
{
    struct holds *holds = allocate(sizeof *holds);

    holds->client = client;
    /* Not that of the agent which was here before this one. */
    holds->holder = text_format("snapshot-agent/%s/%lld", node ? node : "",
                                (long long)loop_date(kube_client_loop(client)));
    return holds;
}

static void hold_free(struct hold *hold)
{
    struct hold **link = &hold->holds->list;

    while (*link != hold)
        link = &(*link)->next;
    *link = hold->next;
    kube_cancel(hold->removal);
    loop_source_free(hold->again);
    kube_lease_free(hold->lease);
    free(hold->namespace);
    free(hold->job);
    free(hold);
}

static void on_lost(const struct error *error, void *context)
{
    const struct hold *hold = context;

    say_fields(SAY_WARNING,
               json_pack("{ss ss ss}", "namespace", hold->namespace, "job", hold->job, "code",
                         error->code),
               "the lease of a job is not ours for now: %s", error->message);
}

struct hold *hold_take(struct holds *holds, const char *namespace, const char *job, const char *uid)
{
    struct hold *hold = allocate(sizeof *hold);
    json_t *owners = uid ? json_pack("[{ss ss ss ss}]", "apiVersion", "batch/v1", "kind", "Job",
                                     "name", job, "uid", uid)
                         : NULL;
    struct kube_lease_options options = {.namespace = namespace,
                                         .name = job,
                                         .holder = holds->holder,
                                         .duration_sec = DURATION_SEC,
                                         .owners = owners,
                                         .lost = on_lost,
                                         .context = hold};

    *hold = (struct hold){.next = holds->list,
                          .holds = holds,
                          .namespace = text_copy(namespace),
                          .job = text_copy(job)};
    holds->list = hold;
    hold->lease = kube_lease_new(holds->client, &options);
    json_decref(owners);
    return hold;
}

/* Another capture of the Job: the lease is its. */
static bool is_taken_again(const struct hold *hold)
{
    for (const struct hold *other = hold->holds->list; other; other = other->next) {
        if (!other->dropped && text_equal(other->namespace, hold->namespace) &&
            text_equal(other->job, hold->job))
            return true;
    }
    return false;
}

static void on_removed(const struct kube_answer *answer, const struct error *error, void *context)
{
    struct hold *hold = context;
    struct loop *loop = kube_client_loop(hold->holds->client);

    hold->removal = NULL;
    if (!error || answer->status == 404 || hold->removals >= REMOVALS_MOST)
        hold_free(hold);
    else
        loop_timer_set(hold->again, loop_now(loop) + ((uint64_t)RETRY_USEC << hold->removals));
}

static void remove_lease(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct hold *hold = context;
    CLEANUP(free_ptr) char *path = NULL;
    struct kube_request request = {.method = "DELETE"};

    (void)source;
    (void)now_usec;
    if (is_taken_again(hold)) {
        hold_free(hold);
        return;
    }
    hold->removals++;
    path = kube_path(&kube_leases, hold->namespace, hold->job, NULL);
    request.path = path;
    kube_send(hold->holds->client, &request, on_removed, hold, &hold->removal);
}

static void on_released(void *context)
{
    struct hold *hold = context;

    loop_add_timer(kube_client_loop(hold->holds->client), 0, remove_lease, hold, &hold->again);
}

void hold_drop(struct hold *hold)
{
    if (!hold)
        return;
    hold->dropped = true;
    kube_lease_release(hold->lease, on_released);
}

void holds_free(struct holds *holds)
{
    if (!holds)
        return;
    while (holds->list)
        hold_free(holds->list);
    free(holds->holder);
    free(holds);
}
