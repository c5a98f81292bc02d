/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody who looks at a failed restore wants to see first (DEBUG). */
#pragma once

#include <signal.h>

/* Into the log: GPUs as nvidia-smi tells them, /dev/nvidia*, what the environment says of GPUs, and
 * the namespaces of the first process. */
void debug_describe(const sigset_t *before);

/* Leaves the container as it is for a while, so that somebody can look into it. Returns the signal
 * that ended that, or 0. */
int debug_pause(const sigset_t *waited);
