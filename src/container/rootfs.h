/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container has changed in its root file system, as one archive: saved from an overlay
 * while the container is frozen, applied to the root of another container of the same image. And
 * whole trees (a tmpfs that belongs to the container) in the same kind of archive.
 *
 * The archive is a pax tar. Names, links, owners (as seen inside of the container), modes, times,
 * holes and extended attributes are where tar has them. What tar has no place for is an attribute
 * in a namespace that no kernel has: "stasis.root" on the first entry says what the archive is,
 * "stasis.end" on the last one how many came before, and "stasis.whiteout", "stasis.opaque",
 * "stasis.socket", "stasis.mount-point" and "stasis.linked" say what an entry is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"

#define ROOTFS_ARCHIVE "rootfs.tar" /* its name in a snapshot */

/* A line of /proc/<pid>/uid_map as this process reads it: user_namespaces(7). */
struct id_range {
    uint32_t inside, outside, length;
};

/* No range at all: ids are the same inside and outside. */
struct id_map {
    const struct id_range *ranges;
    size_t count;
};

struct rootfs_ids {
    struct id_map users, groups;
};

/* Counts of what was saved or applied; mount points count nowhere else. */
struct rootfs_summary {
    uint64_t files, directories, symlinks, specials, hard_links;
    uint64_t whiteouts, opaque, mount_points;
    uint64_t bytes; /* of file contents, without holes */
};

struct rootfs_source {
    int upper;            /* directory of the overlay's upper layer (overlay_open_upper) */
    int merged;           /* "/" as the container sees it: /proc/<pid>/root */
    bool user_attributes; /* the overlay keeps its marks in user.overlay.*: struct overlay */
    bool indexed;         /* index=on: struct overlay */
    /* What is left out, with everything below: fnmatch(3) patterns, NULL at the end (or NULL). One
     * with a '/' is for the path from "/" on, and '*' goes over slashes ("/var/cache", "*.pyc/x");
     * one without is for the last name ("__pycache__"). */
    const char *const *exclusions;
    struct rootfs_ids ids;
};

/*
 * Writes the archive at the present position of `archive_fd`; it is neither flushed to disk nor
 * closed. The container must be frozen. Never left out by patterns alone: /proc, /sys, /dev and the
 * files that runtimes make are always left out, and what lies below a mount is not looked at.
 * "rootfs-save", "rootfs-owner", "disk-full".
 */
int rootfs_save(const struct rootfs_source *source, int archive_fd, struct rootfs_summary *ret,
                struct error *error);

struct rootfs_apply_options {
    struct rootfs_ids ids; /* of the target */
    bool devices;          /* device nodes may be made; otherwise an archive with one is refused */
};

/*
 * Makes the root directory `target_root` (as its container sees it: /proc/<pid>/root) what the
 * archive says; `archive_fd` is a regular file and read from its start. The whole archive is
 * checked before anything is written. Nothing outside of the mount of `target_root` is touched, no
 * symbolic link is followed. May be repeated. Needs root.
 * "rootfs-archive", "rootfs-read-only", "rootfs-mount", "rootfs-owner", "rootfs-attribute",
 * "rootfs-device", "rootfs-apply", "disk-full".
 */
int rootfs_apply(int archive_fd, int target_root, const struct rootfs_apply_options *options,
                 struct rootfs_summary *ret, struct error *error);

/* Reads an archive (of a root file system or a tree) to its end and tells what is in it.
 * "rootfs-archive", "rootfs-device". */
int rootfs_archive_check(int archive_fd, const struct rootfs_apply_options *options,
                         struct rootfs_summary *ret, struct error *error);

struct tree_source {
    int directory;                 /* all of it is saved, other mounts below it are not */
    const char *const *exclusions; /* as above; "/" is `directory` */
    struct rootfs_ids ids;
};

int tree_save(const struct tree_source *source, int archive_fd, struct rootfs_summary *ret,
              struct error *error);

/* Afterwards `directory` has what the archive has, and nothing else but mounts that were there. */
int tree_apply(int archive_fd, int directory, const struct rootfs_apply_options *options,
               struct rootfs_summary *ret, struct error *error);
