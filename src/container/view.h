/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running container as the kernel shows it: its first process, the namespaces that CRIU has to
 * work in, and its mounts, told apart by what becomes of them in a snapshot. No runtime is asked;
 * what one knows beyond that (names, image) is in container/runtime.h.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"
#include "container/rootfs.h"
#include "proc/mounts.h"
#include "proc/namespaces.h"

enum mount_role {
    MOUNT_ROOT,    /* "/": its changes go with the snapshot */
    MOUNT_KERNEL,  /* proc, sysfs, cgroup, …: each container has its own */
    MOUNT_MASK,    /* hides or protects something below /proc or /sys */
    MOUNT_DEVICES, /* /dev, and device nodes mounted in it */
    MOUNT_MEMORY,  /* a tmpfs of its own: its contents go with the snapshot */
    MOUNT_VOLUME,  /* from outside: never captured, expected to be there at restore */
};

/* What its first process may do at most. */
struct container_privileges {
    uint64_t capabilities; /* bounding and permitted (capabilities(7)) */
    bool no_new;           /* PR_SET_NO_NEW_PRIVS */
    bool filtered;         /* by seccomp */
};

struct container_view {
    pid_t pid;   /* the container's first process, as we see it */
    int process; /* /proc/<pid>: names that process and no other */
    int root;    /* "/" as it sees it (O_PATH) */
    struct namespaces namespaces;
    struct mount_table mounts;
    enum mount_role *roles; /* of each of `mounts` */
    bool own_user_ids;      /* a user namespace of its own, */
    struct rootfs_ids ids;  /* then its ids and ours; else empty */
    bool system_v;          /* shared memory, semaphores or queues in its IPC namespace */
    struct container_privileges privileges;
    json_t *addresses; /* ["10.0.0.2", "fe80::1%eth0"]: of its network namespace, not loopback */
};

#define CONTAINER_VIEW_INIT ((struct container_view){.pid = -1, .process = -1, .root = -1})

/* Whether the process is the first one of a pid namespace other than ours, with mounts of its own.
 */
bool container_is_first(pid_t pid);

/* "container-view", "process-gone". */
int container_view_read(pid_t pid, struct container_view *ret_view, struct error *error);
void container_view_done(struct container_view *view);

/* 1 << enum namespace_kind: those in which CRIU works, so that it neither saves nor makes them. */
unsigned container_entered(const struct container_view *view);

/* Whether "/" can be written to. */
bool container_root_is_read_only(const struct container_view *view);

/* Opens a directory as the container sees it; links stay inside. A descriptor or a negative
 * errno. */
int container_open_directory(const struct container_view *view, const char *path);

/* Removes a file, if it is there, by its name in the container. */
void container_unlink(int root, const char *path);

/* "root", "memory", … */
const char *mount_role_name(enum mount_role role);
