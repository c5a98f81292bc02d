/* SPDX-License-Identifier: Apache-2.0 */
/* Putting one object of the archive where it belongs. Inside of src/container. */
#pragma once

#include <stdint.h>

#include "container/rootfs-reader.h"

struct target {
    int root;
    uint64_t mount; /* the only one that may be written to */
    const struct rootfs_ids *ids;
    char *parent_path; /* of the directory that is open: entries come grouped by it */
    int parent;
    char *names, *value;
};

#define TARGET_INIT ((struct target){.root = -1, .parent = -1})

/* -errno of statx. */
int target_open(struct target *target, int root, const struct rootfs_ids *ids, struct error *error);
void target_done(struct target *target);

/* The open directory that holds `path`. A negative errno when there is none on this mount. */
int target_parent(struct target *target, const char *path);

/* Each makes what the entry says and leaves nothing else in its place; the data of a file comes
 * from the reader. A directory that is there stays, with what is in it. */
int place_file(struct target *target, const struct rootfs_entry *entry,
               struct rootfs_reader *reader, struct error *error);
int place_directory(struct target *target, const struct rootfs_entry *entry, struct error *error);
int place_node(struct target *target, const struct rootfs_entry *entry, struct error *error);
int place_hard_link(struct target *target, const struct rootfs_entry *entry, struct error *error);
int place_whiteout(struct target *target, const struct rootfs_entry *entry, struct error *error);
int place_mount_point(struct target *target, const struct rootfs_entry *entry, struct error *error);

/* Times of a directory, when nothing more is made in it. One that is gone again is no error. */
int place_directory_time(struct target *target, const char *path, const struct timespec *mtime,
                         struct error *error);

/* Whether making the entry would change more than times. */
bool place_would_change(struct target *target, const struct rootfs_entry *entry);

/* "disk-full", "rootfs-read-only", or "rootfs-apply". */
int rootfs_apply_error(struct error *error, int number, const char *path);
