/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA side of a capture. A tree without CUDA never loads the driver. */
#pragma once

#include "capture/preflight.h"
#include "capture/state.h"

/* Which processes of the tree have CUDA state. */
int capture_cuda_find(struct capture *capture, struct error *error);

/* Driver and GPUs for the manifest, and what preflight has to know about them. */
int capture_cuda_describe(struct capture *capture, struct preflight_request *question,
                          struct error *error);

/* Stops all of them from submitting work, or none. */
int capture_cuda_lock(struct capture *capture, unsigned timeout_seconds, struct error *error);

/* After CRIU has ended with `result`: the driver's error, where there is one, is the cause. */
int capture_cuda_conclude(struct capture *capture, int result, struct error *error);
