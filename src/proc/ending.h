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

/* Whether there is no such process, or every thread of it is exiting or has SIGKILL pending
 * (proc_pid_stat(5) field 9, proc_pid_status(5)). */
bool process_is_ending(pid_t pid);

/* The same by a directory that is a /proc. */
bool process_is_ending_at(int proc, pid_t pid);

/* Kills every process that lives in a mount namespace (the number of its inode), except this one
 * and `spared`, until none is left or ten seconds have gone. `proc`: a /proc that counts as this
 * process does. Returns how many there were. */
unsigned processes_end_in(int proc, uint64_t mount_namespace, pid_t spared);
