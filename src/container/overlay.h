/* SPDX-License-Identifier: Apache-2.0 */
/* What the root file system of a container is: the overlay that container runtimes make of the
 * layers of an image (Documentation/filesystems/overlayfs.rst of the kernel). */
#pragma once

#include <stdbool.h>

#include "basic/error.h"
#include "proc/mounts.h"

struct overlay {
    int mount;            /* its id in mountinfo */
    char *upper;          /* the upper layer, absolute, in the mount namespace of who mounted it */
    char *upper_plain;    /* the same with backslashes taken as they are */
    bool user_attributes; /* userxattr: marks are user.overlay.*, not trusted.overlay.* */
    bool redirects;       /* redirect_dir: renamed directories may exist */
    bool metadata_only;   /* metacopy: files of the upper layer may have no data */
    bool indexed;         /* index: all names of a file of a lower layer change together */
    bool is_volatile;
};

#define OVERLAY_INIT ((struct overlay){0})

/* Finds the overlay that is "/" in the mount table of a process. "rootfs-not-overlay" when it is
 * something else, or an overlay that can't be changed (without an upper layer). */
int overlay_find(const struct mount_table *table, struct overlay *ret, struct error *error);
void overlay_done(struct overlay *overlay);

/*
 * Opens the upper layer. `prefix` is the root directory of the mount namespace in which the path
 * holds (symbolic links stay inside of it), `merged` the container's "/". It is looked over whether
 * that directory really is the upper layer of `merged`. "rootfs-upper".
 */
int overlay_open_upper(const struct overlay *overlay, int prefix, int merged, int *ret_fd,
                       struct error *error);
