/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that lies below a directory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "basic/error.h"

enum {
    TREE_ENTRIES_MAXIMUM = 1024 * 1024,
    TREE_DEPTH_MAXIMUM = 32,
};

struct tree_entry {
    char *path; /* relative */
    struct stat stat;
};

struct tree {
    struct tree_entry *entries; /* sorted by path (strcmp) */
    size_t count;
    size_t capacity;
};

#define TREE_INIT ((struct tree){0})

/* Reads names and attributes, never following links. Directories that are mount points are listed
 * and not entered. "snapshot-read". */
int tree_read(int directory, struct tree *ret_tree, struct error *error);

void tree_done(struct tree *tree);

/* Whether it is a directory of the same file system as `device`. */
bool tree_is_directory(const struct tree_entry *entry, dev_t device);

/* Bytes that the files occupy on disk. */
uint64_t tree_allocated(const struct tree *tree);
