/* SPDX-License-Identifier: Apache-2.0 */
/* Where restored processes will live: the target's namespaces, and a mount namespace of their own
 * in which the target's mounts are there, with theirs over them. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"
#include "nsrestore/plan.h"

struct place {
    int proc;             /* the host's /proc: all that we know of processes */
    int host_mounts;      /* the host's mount namespace, where CRIU is loaded */
    int mounts;           /* the new one */
    uint64_t mount_inode; /* its number */
};

#define PLACE_INIT ((struct place){.proc = -1, .host_mounts = -1, .mounts = -1})

/* Joins control groups and namespaces. From then on this process is inside, for good. */
int place_enter(const struct plan *plan, struct place *ret_place, struct error *error);

/* Mounts a /proc for the pid namespace of a process (as the host counts), and over it again what
 * hid or protected parts of the one before. */
int place_mount_proc(const struct place *place, pid_t first, struct error *error);

/* Ends every process that lives in the new mount namespace, except this one and `spared`. Their
 * number. */
unsigned place_end_all(const struct place *place, pid_t spared);
