/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/error.h"

/* Asks the workload to end (SIGTERM to its main process); after `timeout_msec` every process of it
 * is killed. Returns when all have ended. */
int workload_stop(const char *root, const char *name, unsigned timeout_msec, struct error *error);
