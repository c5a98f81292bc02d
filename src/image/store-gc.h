/* SPDX-License-Identifier: Apache-2.0 */
/* Garbage collection: what writers and deleters that died have left, and retention. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"

struct gc_options {
    const char *id; /* only this one; NULL: all */
    bool by_count;  /* versions that are not among the `keep` newest complete ones may go */
    unsigned keep;
    bool by_age;         /* snapshots created more than `older_than` seconds ago may go */
    uint64_t older_than; /* seconds */
    bool dry_run;        /* change nothing, say what would go */
};

enum gc_kind { GC_STAGING, GC_TRASH, GC_SNAPSHOT };

struct gc_item {
    enum gc_kind kind;
    char *id;
    char *version;
    char *path;     /* absolute */
    uint64_t bytes; /* on disk (allocated blocks) */
    char *problem;  /* NULL: gone (or would go); else why it stays */
};

struct gc_result {
    struct gc_item *items;
    size_t count;
    uint64_t bytes; /* of the items without a problem */
};

#define GC_RESULT_INIT ((struct gc_result){0})

/* "staging", "trash", "snapshot". */
const char *gc_kind_name(enum gc_kind kind);

/*
 * Leftovers of dead owners always go. A snapshot goes when at least one condition is given and all
 * given ones hold. Damaged and unsupported snapshots are never chosen: delete them by name.
 * One item that can't be removed doesn't stop the rest.
 */
int store_gc(const char *root, const struct gc_options *options, struct gc_result *ret_result,
             struct error *error);
void gc_result_done(struct gc_result *result);
