/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CRIU does not save of a thread and a program can notice: the processors it may run on
 * (sched_setaffinity(2)), its timer slack (PR_SET_TIMERSLACK) and its input-output priority
 * (ioprio_set(2)). Only what differs from a fresh process is recorded.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "basic/error.h"

/* Of the threads of one process: appends [{"tid", "cpus", "slack", "ioprio"}], with thread ids as
 * they are in its own pid namespace. */
void attributes_read(pid_t pid, json_t *list);

/* The personality(2) flags that every one of these processes has and that a process can safely
 * inherit; 0 when they differ. */
unsigned attributes_personality(const pid_t *pids, size_t count);

/* Whether a process has any personality(2) flag set. */
bool attributes_has_personality(pid_t pid);

/* Applies them to threads of the processes that exist now. `inside`: a process in whose pid
 * namespace the ids are meant; 0: ours. What this machine can't give (processors it does not have)
 * is left as it is. */
int attributes_apply(const json_t *list, pid_t inside, struct error *error);
