/* SPDX-License-Identifier: Apache-2.0 */
/* The container that a restore goes into: does it fit, and the helper (nsrestore) that works in it.
 * For the files of this folder. */
#pragma once

#include "basic/leaf.h"
#include "restore/state.h"

/* Compares what the snapshot had with what the target has; nothing is touched (target-check.c). */
int target_check(const struct restore *restore, struct error *error);

/* Rewrites what the images say of sockets for the target's network; `restore->images` becomes a
 * view of the rewritten images, which lasts as long as the leaf (target-network.c). */
int target_adapt_network(struct restore *restore, struct leaf *ret_holder, struct error *error);

/* Brings the files that the container had changed into the target's "/" (target-files.c). */
int target_apply_rootfs(const struct restore *restore, struct error *error);

struct target_mount {
    int fd; /* detached */
    const char *point;
};

enum { TARGET_MOUNTS_MAXIMUM = 64 };

#define TARGET_IDENTITY_NAME "stasis"
#define TARGET_IDENTITY_PLACE "/dev/" TARGET_IDENTITY_NAME

/* File systems in memory with what the snapshot's had in them, attached to nothing yet. */
struct target_mounts {
    struct target_mount list[TARGET_MOUNTS_MAXIMUM + 1];
    size_t count;
};

int target_make_mounts(const struct restore *restore, struct target_mounts *ret_mounts,
                       struct error *error);

/* One more of them, with files that say who the restored processes are now (target-identity.c). */
int target_make_identity(const struct restore *restore, struct target_mounts *mounts,
                         struct error *error);
void target_mounts_done(struct target_mounts *mounts);

/* The target's cgroup.procs files, for a process to join (target-cgroups.c). Closed by the caller,
 * as many as `ret_count` says. */
int target_open_cgroups(const struct container_view *target, int *ret_fds, size_t maximum,
                        size_t *ret_count, struct error *error);

/* A running nsrestore (target-helper.c). */
struct target_helper {
    pid_t pid;
    int control;
    int output; /* what it prints */
    int mounts; /* the mount namespace that it made; as long as it is open, its number is its own */
};

#define TARGET_HELPER_INIT \
    ((struct target_helper){.pid = -1, .control = -1, .output = -1, .mounts = -1})

struct target_plan {
    const int *inherited; /* in the order of the plan's stand-ins */
    size_t inherited_count;
    const struct target_mount *mounts;
    size_t mount_count;
};

/* Starts it and waits until it has entered the target and started CRIU. */
int target_helper_start(struct restore *restore, const struct target_plan *plan,
                        struct target_helper *ret_helper, struct error *error);

/* Sends a message and waits for the answer (container/nsrestore.h). */
int target_helper_tell(const struct target_helper *helper, const char *message,
                       struct error *error);

/* Waits for its end; what it printed, or NULL. Before it was released, this makes it undo. */
json_t *target_helper_finish(struct target_helper *helper);

/* The same, and then ends whatever is left in its mount namespace: it may have been killed. */
void target_helper_undo(struct target_helper *helper);

/* Writes the file that says "restored" as the restored processes will see it, who do not run yet:
 * directories are made where they are missing, an old file is replaced (target-marker.c). */
int target_write_marker(const struct restore *restore, const struct target_helper *helper,
                        const char *path, struct error *error);

/* For a restore that came to nothing; `path` may be NULL. */
void target_remove_marker(const struct restore *restore, const char *path);
