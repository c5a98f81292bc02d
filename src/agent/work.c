/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/work.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"

const char *wish_kind_name(enum wish_kind kind)
{
    return kind == WISH_CAPTURE ? "capture" : "restore";
}

struct node_pod *node_find(const struct node *node, const char *uid)
{
    for (struct node_pod *entry = node->pods; entry; entry = entry->next) {
        if (text_equal(entry->uid, uid))
            return entry;
    }
    return NULL;
}

struct node_pod *node_get(struct node *node, const char *uid)
{
    struct node_pod *entry = node_find(node, uid);

    if (entry)
        return entry;
    entry = allocate(sizeof *entry);
    entry->uid = text_copy(uid);
    entry->next = node->pods;
    node->pods = entry;
    return entry;
}

void node_pod_set(struct node_pod *entry, struct pod *pod)
{
    for (struct work *work = entry->works; work; work = work->next)
        work->wanted = false; /* what its wish says is of the pod that goes */
    pod_free(entry->pod);
    entry->pod = pod;
}

static struct work *find_work(const struct node_pod *entry, enum wish_kind kind,
                              const char *container)
{
    for (struct work *work = entry->works; work; work = work->next) {
        if (work->kind == kind && text_equal(work->container, container))
            return work;
    }
    return NULL;
}

struct work *node_pod_work(struct node_pod *entry, enum wish_kind kind, const char *container)
{
    struct work *work = find_work(entry, kind, container);

    if (work)
        return work;
    work = allocate(sizeof *work);
    work->owner = entry;
    work->kind = kind;
    work->container = text_copy(container);
    work->next = entry->works;
    entry->works = work;
    return work;
}

void node_pod_wish(struct node_pod *entry, const struct wishes *wishes)
{
    for (size_t i = 0; i < wishes->count; i++) {
        struct work *work = node_pod_work(entry, wishes->list[i].kind, wishes->list[i].container);

        work->wish = wishes->list[i];
        work->wanted = true;
    }
    for (struct work *work = entry->works; work; work = work->next) {
        if (work->state == WORK_QUEUED && !work->wanted)
            work->state = WORK_IDLE;
    }
}

bool work_succeeded(const struct work *work)
{
    return json_is_true(json_object_get(work->result, "ok"));
}

struct work *node_find_work(const struct node *node, const char *key)
{
    for (const struct node_pod *entry = node->pods; entry; entry = entry->next) {
        for (struct work *work = entry->works; work; work = work->next) {
            if (work->key && text_equal(work->key, key))
                return work;
        }
    }
    return NULL;
}

size_t node_count(const struct node *node, enum wish_kind kind, enum work_state state)
{
    size_t count = 0;

    for (const struct node_pod *entry = node->pods; entry; entry = entry->next) {
        for (const struct work *work = entry->works; work; work = work->next)
            count += work->kind == kind && work->state == state;
    }
    return count;
}

/* Something is done to its container already: a pod may have changed what it asks for. */
static bool is_occupied(const struct work *work)
{
    for (const struct work *other = work->owner->works; other; other = other->next) {
        if (other->state == WORK_RUNNING && text_equal(other->container, work->container))
            return true;
    }
    return false;
}

struct work *node_first_queued(const struct node *node, enum wish_kind kind)
{
    struct work *first = NULL;

    for (const struct node_pod *entry = node->pods; entry; entry = entry->next) {
        for (struct work *work = entry->works; work; work = work->next) {
            if (work->kind == kind && work->state == WORK_QUEUED &&
                (!first || work->queued < first->queued) && !is_occupied(work))
                first = work;
        }
    }
    return first;
}

static void work_free(struct work *work)
{
    free(work->container);
    free(work->container_id);
    free(work->key);
    json_decref(work->result);
    free(work);
}

static void entry_free(struct node_pod *entry)
{
    while (entry->works) {
        struct work *work = entry->works;

        entry->works = work->next;
        work_free(work);
    }
    pod_free(entry->pod);
    free(entry->uid);
    free(entry->complaint);
    free(entry->complaint_text);
    free(entry);
}

void node_remove(struct node *node, struct node_pod *entry)
{
    struct node_pod **link = &node->pods;

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    entry_free(entry);
}

void node_done(struct node *node)
{
    while (node->pods)
        node_remove(node, node->pods);
}

const char *work_new_key(struct work *work)
{
    free(work->key);
    work->serial++;
    work->key = work_key(work, work->serial);
    return work->key;
}

char *work_key(const struct work *work, unsigned serial)
{
    return text_format("%s.%s.%s.%u", work->owner->uid, work->container, wish_kind_name(work->kind),
                       serial);
}

unsigned work_serial(const char *key)
{
    const char *dot = strrchr(key, '.');
    int serial;

    return dot && text_to_int(dot + 1, &serial) == 0 && serial > 0 ? (unsigned)serial : 1;
}

struct work *node_adopt(struct node *node, const struct order *order)
{
    struct work *work;
    enum wish_kind kind =
        order->kind == ORDER_RESTORE || order->of_restore ? WISH_RESTORE : WISH_CAPTURE;

    if (!order->uid || !order->container || order->kind == ORDER_LIST)
        return NULL;
    work = node_pod_work(node_get(node, order->uid), kind, order->container);
    if (order->kind != ORDER_TELL && work_serial(order->key) > work->serial)
        work->serial = work_serial(order->key);
    return work;
}

struct work_view work_view(const struct work *work)
{
    return (struct work_view){.state = work->state,
                              .attempts = work->attempts,
                              .cancelled = work->cancelled,
                              .container_id = work->container_id,
                              .not_before_usec = work->not_before_usec,
                              .refused = json_is_true(json_object_get(work->result, "refused"))};
}
