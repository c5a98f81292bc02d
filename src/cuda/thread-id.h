/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of processes and threads across pid namespaces. The driver may tell the restore thread's id
 * as its process sees it; CRIU may live in another pid namespace than the worker.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "basic/error.h"

enum { PID_LEVELS_MAX = 33 }; /* 32 nested namespaces and the first (kernel limit) */

/* Ids of one task from this process's namespace (of /proc) inwards. */
struct pid_levels {
    pid_t ids[PID_LEVELS_MAX];
    size_t count;
};

/* NSpid of /proc/PID/status, or of /proc/PID/task/TID/status when `tid` is not 0. */
int pid_levels_of(pid_t pid, pid_t tid, struct pid_levels *ret_levels);

/* What a pidfd stands for; -ESRCH when it has ended or lives in a foreign namespace. */
int pid_levels_of_pidfd(int pidfd, struct pid_levels *ret_levels);

/* The id, in this namespace, of the thread that the process `pid` knows as `tid`, or that already
 * is meant in this namespace. -ESRCH. */
int thread_id_to_outer(pid_t pid, pid_t tid, pid_t *ret_tid);

/* Opens a pidfd and checks nothing else; negative errno. */
int pidfd_of(pid_t pid);

/* 1: the process has ended (or is a zombie), 0: it has not. */
int pidfd_ended(int pidfd);
