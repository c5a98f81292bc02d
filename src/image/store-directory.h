/* SPDX-License-Identifier: Apache-2.0 */
/* All snapshots below a root directory: which there are, and the end of some of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "image/layout.h"

enum snapshot_state {
    SNAPSHOT_COMPLETE,    /* published, its manifest is sound */
    SNAPSHOT_DAMAGED,     /* no manifest, or one that is damaged or makes no sense */
    SNAPSHOT_UNSUPPORTED, /* of a format that this program does not know */
};

struct snapshot_entry {
    char *id;
    char *version;
    enum snapshot_state state;
    char *problem;  /* NULL when complete */
    char *created;  /* NULL unless complete */
    uint64_t bytes; /* by the manifest; what lies on disk when that can't be read */
};

struct snapshot_list {
    struct snapshot_entry *entries; /* sorted by id, then version, ascending */
    size_t count;
};

#define SNAPSHOT_LIST_INIT ((struct snapshot_list){0})

/* "complete", "damaged", "unsupported". */
const char *snapshot_state_name(enum snapshot_state state);

/* A root that does not exist is empty. What is not a snapshot is not listed. One bad entry never
 * spoils the rest. `id`: only this one, or NULL. */
int store_list(const char *root, const char *id, struct snapshot_list *ret_list,
               struct error *error);
void snapshot_list_done(struct snapshot_list *list);

/* ID@VERSION removes one version, ID all of them; damaged ones too. Renamed out of sight first, so
 * that no end of this program leaves half a snapshot that looks whole. "snapshot-busy" while
 * somebody has it open. */
int store_delete(const char *root, const char *reference, struct error *error);

/* Removes <root>/<id>/versions and <root>/<id> where nothing is in them (but for SNAPSHOT_DONE). */
void store_remove_empty(const char *root, const char *id);
