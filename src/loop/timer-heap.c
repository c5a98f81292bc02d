/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/timer-heap.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"

static bool is_before(const struct timer_entry *a, const struct timer_entry *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

/* Places are counted from 1: the parent of n is n / 2. */
static void put(struct timer_heap *heap, size_t place, struct timer_entry *entry)
{
    heap->entries[place - 1] = entry;
    entry->place = place;
}

static void rise(struct timer_heap *heap, struct timer_entry *entry)
{
    size_t place = entry->place;

    while (place > 1 && is_before(entry, heap->entries[place / 2 - 1])) {
        put(heap, place, heap->entries[place / 2 - 1]);
        place /= 2;
    }
    put(heap, place, entry);
}

static void sink(struct timer_heap *heap, struct timer_entry *entry)
{
    size_t place = entry->place, child;

    while ((child = place * 2) <= heap->count) {
        if (child < heap->count && is_before(heap->entries[child], heap->entries[child - 1]))
            child++;
        if (!is_before(heap->entries[child - 1], entry))
            break;
        put(heap, place, heap->entries[child - 1]);
        place = child;
    }
    put(heap, place, entry);
}

static void make_room(struct timer_heap *heap)
{
    struct timer_entry **larger;

    if (heap->count < heap->capacity)
        return;
    heap->capacity = heap->capacity ? heap->capacity * 2 : 16;
    larger = allocate(heap->capacity * sizeof *larger);
    if (heap->count > 0)
        memcpy(larger, heap->entries, heap->count * sizeof *larger);
    free(heap->entries);
    heap->entries = larger;
}

void timer_heap_set(struct timer_heap *heap, struct timer_entry *entry, uint64_t at)
{
    entry->at = at;
    entry->order = heap->orders++;
    if (entry->place == 0) {
        make_room(heap);
        heap->count++;
        put(heap, heap->count, entry);
    }
    rise(heap, entry);
    sink(heap, entry);
}

void timer_heap_remove(struct timer_heap *heap, struct timer_entry *entry)
{
    struct timer_entry *last;
    size_t place = entry->place;

    if (place == 0)
        return;
    entry->place = 0;
    last = heap->entries[--heap->count];
    if (last == entry)
        return;
    put(heap, place, last);
    rise(heap, last);
    sink(heap, last);
}

struct timer_entry *timer_heap_first(const struct timer_heap *heap)
{
    return heap->count > 0 ? heap->entries[0] : NULL;
}

void timer_heap_done(struct timer_heap *heap)
{
    free(heap->entries);
    *heap = (struct timer_heap){0};
}
