/* SPDX-License-Identifier: Apache-2.0 */
/* Processes on their way out: giving back a lot of memory takes long, so a killed process may be
 * seen for a while. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Of a mask of signals that wait (proc_pid_status(5)) the name of one by which a process is told to
 * end: "SIGTERM", "SIGINT" or "SIGQUIT"; NULL: none of them. */
const char *signal_that_ends(uint64_t pending);

/*
 * Waits for the end of a process, which need not be a child of ours, for at most `timeout_msec`.
 * Returns 0 when it runs on; 1 when it has ended and waits to be looked at by its parent: then
 * `ret_status` is as from waitpid(2) (proc_pid_stat(5) field 52, shown to those who may trace it);
 * -ESRCH when it is gone, so that nobody can know how it ended.
 */
int process_await_end(pid_t pid, int timeout_msec, int *ret_status);

/* "with status 7" or "by signal 9 (Killed)"; the caller frees it. */
char *process_end_text(int status);

/* Whether there is no such process, or every thread of it is exiting or has SIGKILL pending
 * (proc_pid_stat(5) field 9, proc_pid_status(5)). */
bool process_is_ending(pid_t pid);

/* The same by a directory that is a /proc. */
bool process_is_ending_at(int proc, pid_t pid);

/* Kills every process that lives in a mount namespace (the number of its inode), except this one
 * and `spared`, until none is left or ten seconds have gone. `proc`: a /proc that counts as this
 * process does. Returns how many there were. */
unsigned processes_end_in(int proc, uint64_t mount_namespace, pid_t spared);
