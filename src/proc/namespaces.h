/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespaces a process lives in (namespaces(7)), and process ids across them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

enum namespace_kind {
    NAMESPACE_MOUNT,
    NAMESPACE_NETWORK,
    NAMESPACE_PID,
    NAMESPACE_PID_FOR_CHILDREN,
    NAMESPACE_USER,
    NAMESPACE_IPC,
    NAMESPACE_UTS,
    NAMESPACE_CGROUP,
    NAMESPACE_TIME,
    NAMESPACE_TIME_FOR_CHILDREN,
    NAMESPACE_KINDS
};

struct namespaces {
    uint64_t inode[NAMESPACE_KINDS]; /* 0: the kernel has none of this kind, or not readable */
};

/* The name below /proc/<pid>/ns ("mnt", "net", …). */
const char *namespace_name(enum namespace_kind kind);

int namespaces_read(pid_t pid, struct namespaces *ret, struct error *error);
int namespaces_read_at(int directory, struct namespaces *ret, struct error *error);

/* Bit `1 << kind` for every kind in which the two differ. */
unsigned namespaces_difference(const struct namespaces *a, const struct namespaces *b);

/* An open namespace of a process, for setns(2); the caller closes it. */
int namespace_open(int directory, enum namespace_kind kind, int *ret_fd, struct error *error);

/* The pid, in the caller's pid namespace, of the process that has the id `inner` in the pid
 * namespace of `member`. "process-gone" (-ESRCH) when there is none. */
int namespace_pid_to_outer(pid_t member, pid_t inner, pid_t *ret_pid, struct error *error);

/* The id that process `pid` (caller's view) has in the pid namespace of `member`.
 * "process-gone" (-ESRCH) when it is not visible there. */
int namespace_pid_to_inner(pid_t member, pid_t pid, pid_t *ret_inner, struct error *error);
