/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the archive: one call an object. Inside of src/container; rootfs.h says what it is. */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "container/rootfs.h"

/* Attributes that say what tar has no place for. */
#define MARK_PREFIX "stasis."
#define MARK_ROOT MARK_PREFIX "root"
#define MARK_END MARK_PREFIX "end"
#define MARK_WHITEOUT MARK_PREFIX "whiteout"
#define MARK_OPAQUE MARK_PREFIX "opaque"
#define MARK_SOCKET MARK_PREFIX "socket"
#define MARK_MOUNT_POINT MARK_PREFIX "mount-point"
#define MARK_LINKED MARK_PREFIX "linked"

#define ROOT_OF_OVERLAY "overlay 1"
#define ROOT_OF_TREE "tree 1"

/* The name of a file that is being made; neither saved nor accepted. */
#define TEMPORARY_NAME ".stasis-rootfs-new"

/* A file with several names. */
struct file_group {
    char *first; /* the path that was saved first */
    uint32_t links, seen;
};

struct rootfs_writer {
    struct archive *archive;
    struct archive_entry *entry;
    int fd;
    int broken; /* the negative errno of a write; nothing is written any more */
    const struct rootfs_ids *ids;
    char *buffer, *names, *value;
    json_t *groups_by_inode; /* "dev:inode" -> index */
    json_t *linked;          /* paths of files with several names */
    struct file_group *groups;
    size_t group_count, group_capacity;
    uint64_t entries;
    struct rootfs_summary summary;
};

#define ROOTFS_WRITER_INIT ((struct rootfs_writer){0})

/* `kind` is ROOT_OF_…; `root` an open directory whose own mode, owner and attributes come first. */
int rootfs_writer_open(struct rootfs_writer *writer, int archive_fd, const char *kind, int root,
                       const struct rootfs_ids *ids, struct error *error);

/* What `name` in `directory` is (`st` comes from name_stat), as `path`. */
int rootfs_writer_add(struct rootfs_writer *writer, int directory, const char *name,
                      const char *path, const struct statx *st, bool opaque, struct error *error);
int rootfs_writer_whiteout(struct rootfs_writer *writer, const char *path, struct error *error);
int rootfs_writer_mount_point(struct rootfs_writer *writer, const char *path, bool directory,
                              struct error *error);

/* The group of a file that has been saved already, or NULL. */
struct file_group *rootfs_writer_group(const struct rootfs_writer *writer, const struct statx *st);

/* Whether a file with several names was saved under this one. */
bool rootfs_writer_has_linked(const struct rootfs_writer *writer, const char *path);

/* Writes the end mark. Without it the archive is worth nothing. */
int rootfs_writer_close(struct rootfs_writer *writer, struct error *error);
void rootfs_writer_done(struct rootfs_writer *writer);

/* "rootfs-save", or "disk-full" for what looks like it. */
int rootfs_save_error(struct error *error, int number, const char *path);
