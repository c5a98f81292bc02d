/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/queue.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "kube/hash.h"
#include "loop/timer-heap.h"

struct item {
    struct hash_node node; /* by key */
    struct timer_entry timer;
    bool working;
    uint64_t again_usec; /* added while it is worked on: when; LOOP_NEVER: was not */
    unsigned failures;
    char key[];
};

struct kube_queue {
    struct loop *loop;
    struct kube_queue_options options;
    struct hash_table items;
    struct timer_heap waiting;
    struct loop_source *timer;
    size_t working;
};

static struct item *item_of(struct timer_entry *entry)
{
    return (struct item *)(void *)((char *)entry - offsetof(struct item, timer));
}

static bool has_key(const struct hash_node *node, const void *key)
{
    return strcmp(((const struct item *)node)->key, key) == 0;
}

static struct item *find(const struct kube_queue *queue, const char *key)
{
    return (struct item *)hash_find(&queue->items, hash_text(key), has_key, key);
}

static struct item *find_or_make(struct kube_queue *queue, const char *key)
{
    struct item *item = find(queue, key);
    size_t length = strlen(key);

    if (item)
        return item;
    item = allocate(sizeof *item + length + 1);
    memcpy(item->key, key, length + 1);
    item->again_usec = LOOP_NEVER;
    hash_insert(&queue->items, &item->node, hash_text(key));
    return item;
}

/* The next turn of the loop for which there is work and room. */
static void schedule(struct kube_queue *queue)
{
    const struct timer_entry *first = timer_heap_first(&queue->waiting);
    bool can = first && queue->working < queue->options.at_once;

    loop_timer_set(queue->timer, can ? first->at : LOOP_NEVER);
}

static void timer_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct kube_queue *queue = context;
    struct timer_entry *first = timer_heap_first(&queue->waiting);
    struct item *item;

    (void)source;
    if (!first || first->at > now_usec || queue->working >= queue->options.at_once) {
        schedule(queue);
        return;
    }
    item = item_of(first);
    timer_heap_remove(&queue->waiting, first);
    item->working = true;
    queue->working++;
    schedule(queue); /* one key a turn: the function may do anything with the queue */
    queue->options.work(queue, item->key, queue->options.context);
}

struct kube_queue *kube_queue_new(struct loop *loop, const struct kube_queue_options *options)
{
    struct kube_queue *queue = allocate(sizeof *queue);

    queue->loop = loop;
    queue->options = *options;
    if (!queue->options.at_once)
        queue->options.at_once = 1;
    if (!queue->options.retry_least_msec)
        queue->options.retry_least_msec = 5;
    if (!queue->options.retry_most_msec)
        queue->options.retry_most_msec = 300000;
    loop_add_timer(loop, LOOP_NEVER, timer_function, queue, &queue->timer);
    return queue;
}

static void free_item(struct hash_node *node, void *context)
{
    (void)context;
    free(node);
}

void kube_queue_free(struct kube_queue *queue)
{
    if (!queue)
        return;
    loop_source_free(queue->timer);
    timer_heap_done(&queue->waiting);
    hash_each(&queue->items, free_item, NULL);
    hash_done(&queue->items);
    free(queue);
}

static void add_at(struct kube_queue *queue, const char *key, uint64_t at)
{
    struct item *item = find_or_make(queue, key);

    if (item->working) {
        if (at < item->again_usec)
            item->again_usec = at;
    } else if (item->timer.place == 0 || at < item->timer.at) {
        timer_heap_set(&queue->waiting, &item->timer, at);
        schedule(queue);
    }
}

void kube_queue_add(struct kube_queue *queue, const char *key)
{
    add_at(queue, key, loop_now(queue->loop));
}

void kube_queue_add_after(struct kube_queue *queue, const char *key, uint64_t delay_usec)
{
    add_at(queue, key, loop_now(queue->loop) + delay_usec);
}

static uint64_t retry_pause(const struct kube_queue *queue, const struct item *item)
{
    uint64_t least = (uint64_t)queue->options.retry_least_msec * 1000;
    uint64_t most = (uint64_t)queue->options.retry_most_msec * 1000;
    unsigned doublings = item->failures - 1;

    return doublings >= 30 || least << doublings > most ? most : least << doublings;
}

void kube_queue_done(struct kube_queue *queue, const char *key, enum kube_outcome outcome)
{
    struct item *item = find(queue, key);
    uint64_t at;

    if (!item || !item->working)
        return;
    item->working = false;
    queue->working--;
    at = item->again_usec;
    item->again_usec = LOOP_NEVER;
    item->failures = outcome == KUBE_WORK_RETRY ? item->failures + 1 : 0;
    if (outcome == KUBE_WORK_RETRY) {
        uint64_t retry_at = loop_now(queue->loop) + retry_pause(queue, item);

        at = retry_at < at ? retry_at : at;
    }
    if (at != LOOP_NEVER) {
        timer_heap_set(&queue->waiting, &item->timer, at);
    } else {
        hash_remove(&queue->items, &item->node);
        free(item);
    }
    schedule(queue);
}

unsigned kube_queue_failures(const struct kube_queue *queue, const char *key)
{
    const struct item *item = find(queue, key);

    return item ? item->failures : 0;
}

bool kube_queue_is_working(const struct kube_queue *queue, const char *key)
{
    const struct item *item = find(queue, key);

    return item && item->working;
}

size_t kube_queue_waiting(const struct kube_queue *queue)
{
    return queue->waiting.count;
}

size_t kube_queue_working(const struct kube_queue *queue)
{
    return queue->working;
}
