/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the archive: every entry is looked over before anybody sees it. Inside of src/container;
 * rootfs.h says what an archive is. */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "container/rootfs.h"

enum entry_kind {
    ENTRY_FILE,
    ENTRY_DIRECTORY,
    ENTRY_SYMLINK,
    ENTRY_SPECIAL, /* fifo, socket, device: see mode */
    ENTRY_HARD_LINK,
    ENTRY_WHITEOUT,
    ENTRY_MOUNT_POINT,
};

/* Valid until the next one is read. */
struct rootfs_entry {
    enum entry_kind kind;
    const char *path; /* sound; "" for the root directory, which is the first entry and only that */
    const char *target;   /* of a symbolic or hard link */
    mode_t mode;          /* with its type */
    uint32_t user, group; /* inside */
    dev_t device;
    struct timespec mtime;
    int64_t size;
    bool opaque;
    bool linked;                   /* hard links to it may follow */
    struct archive_entry *archive; /* for its attributes */
};

struct rootfs_reader {
    struct archive *archive;
    struct archive_entry *entry;
    char *path;
    json_t *linked;   /* paths that hard links may name */
    const char *kind; /* ROOT_OF_…; which is expected, NULL: any */
    bool devices, ended;
    uint64_t entries;
};

#define ROOTFS_READER_INIT ((struct rootfs_reader){0})

/* From the start of `archive_fd`. */
int rootfs_reader_open(struct rootfs_reader *reader, int archive_fd, const char *kind, bool devices,
                       struct error *error);
void rootfs_reader_done(struct rootfs_reader *reader);

/* 1 and the next entry; 0 after the last one. "rootfs-archive", "rootfs-device". */
int rootfs_reader_next(struct rootfs_reader *reader, struct rootfs_entry *ret, struct error *error);

/* 1 and the next piece of the contents of a file, which lies within its size; 0 at the end. */
int rootfs_reader_data(struct rootfs_reader *reader, const struct rootfs_entry *entry,
                       const void **ret_data, size_t *ret_length, int64_t *ret_offset,
                       struct error *error);

/* The next extended attribute; never one of our marks. False after the last one, and then from the
 * start. */
bool rootfs_entry_attribute(const struct rootfs_entry *entry, const char **ret_name,
                            const void **ret_value, size_t *ret_length);

/* What the whole archive brings, found by reading all of it. */
struct rootfs_contents {
    struct rootfs_summary summary;
    bool is_tree;
    json_t *opaque; /* paths of opaque directories */
    json_t *kept;   /* paths of what the archive brings into them */
};

#define ROOTFS_CONTENTS_INIT ((struct rootfs_contents){0})

int rootfs_contents_read(struct rootfs_contents *contents, int archive_fd, const char *kind,
                         bool devices, struct error *error);
void rootfs_contents_done(struct rootfs_contents *contents);
void rootfs_summary_count(struct rootfs_summary *summary, const struct rootfs_entry *entry);
