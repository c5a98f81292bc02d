/* SPDX-License-Identifier: Apache-2.0 */
/* Staying with a workload: its output here, our input and signals there, its end our end. */
#pragma once

#include "basic/error.h"
#include "workload/keeper.h"
#include "workload/record.h"

/*
 * Shows what `log` gets from now on (from `from` bytes on) until the workload ends. SIGINT,
 * SIGTERM, SIGHUP and SIGQUIT go to its main process. With a terminal on both sides, input goes
 * there, too. Returns its exit status; 0 when it was ended for a snapshot (which is said on
 * standard error); a negative errno with `error` when its end is not known.
 */
int attach(const char *root, const struct workload *workload, struct keeper *keeper,
           const char *log, long from, struct error *error);

/* Copies the log to standard output; with `follow` until the workload ends. */
int follow_log(const char *root, const char *name, const char *log, bool follow,
               struct error *error);
