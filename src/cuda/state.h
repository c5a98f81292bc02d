/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a CUDA process, as words: running, locked, checkpointed, failed, … */
#pragma once

#include "cuda/driver-abi.h"

/* Static text; "unknown" for a number that no driver has documented. */
const char *cuda_state_name(stasis_cu_process_state state);
