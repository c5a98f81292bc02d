/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children that this process did not start. A restore leaves the first restored process to it, in a
 * pid namespace one below its own and as process 1 there; whatever a probe has left behind is in
 * its own pid namespace.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* How many pid namespaces, from that of /proc on, a process is in, and its id in the innermost one:
 * the line NSpid in the text of its proc_pid_status(5). 0: can't be told. */
unsigned adopted_depth(const char *text, pid_t *ret_innermost);

/* There is a /proc to tell by. */
bool adopted_can_be_told(void);

/* The first restored process, ended or not, or 0. `named`: the one that a control file names, which
 * counts when it is a child of ours, or 0. */
pid_t adopted_find(pid_t named);

/* Some process of a pid namespace below ours is there: a restore is under way. */
bool adopted_is_near(void);

/* Reaps children that have ended, up to a first restored process, which is returned, or 0. */
pid_t adopted_reap(pid_t named);
