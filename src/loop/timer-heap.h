/* SPDX-License-Identifier: Apache-2.0 */
/* Times in order: a binary heap whose entries know their place, so that they can be moved. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Part of what has a time. */
struct timer_entry {
    uint64_t at;
    uint64_t order; /* which of the same time comes first */
    size_t place;   /* 1 and up; 0: not in the heap */
};

struct timer_heap {
    struct timer_entry **entries; /* entries[0] is the first */
    size_t count, capacity;
    uint64_t orders;
};

/* Adds or moves. */
void timer_heap_set(struct timer_heap *heap, struct timer_entry *entry, uint64_t at);

void timer_heap_remove(struct timer_heap *heap, struct timer_entry *entry);

/* NULL when it is empty. */
struct timer_entry *timer_heap_first(const struct timer_heap *heap);

void timer_heap_done(struct timer_heap *heap);
