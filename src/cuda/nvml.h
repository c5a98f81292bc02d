/* SPDX-License-Identifier: Apache-2.0 */
/* The vendor's management library, found at run time. Load it only in a leaf process. */
#pragma once

#include <stddef.h>

#include "cuda/gpu.h"

enum { CUDA_GPUS_MAX = 64 };

/* Fills `gpus` and the display driver's version. Loads libnvidia-ml.so.1 (or what STASIS_LIBNVML
 * names). -ENOENT "cuda-nvml-missing", -EIO "cuda-nvml-failed". */
int nvml_read_gpus(struct cuda_gpu gpus[static CUDA_GPUS_MAX], size_t *ret_count,
                   char version[static STASIS_NVML_VERSION_SIZE], struct error *error);
