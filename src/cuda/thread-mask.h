/* SPDX-License-Identifier: Apache-2.0 */
/* Gives a thread its signal mask back after a tracer died that had changed it. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Only if the thread still has all signals but SIGTRAP blocked. 0 or a negative errno. */
int thread_mask_repair(pid_t pid, pid_t tid, uint64_t mask);

/* All signals but SIGTRAP, as the kernel counts them. */
#define THREAD_MASK_TRAP_ONLY (~(UINT64_C(1) << 4))
