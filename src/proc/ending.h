/* SPDX-License-Identifier: Apache-2.0 */
/* Processes on their way out: giving back a lot of memory takes long, so a killed process may be
 * seen for a while. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Whether there is no such process, or every thread of it is exiting or has SIGKILL pending
 * (proc_pid_stat(5) field 9, proc_pid_status(5)). */
bool process_is_ending(pid_t pid);
