/* SPDX-License-Identifier: Apache-2.0 */
/* One GPU, as it is recorded in a snapshot and as it is found on a machine. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "basic/error.h"
#include "cuda/driver-abi.h"

enum { CUDA_UUID_TEXT_SIZE = 41 }; /* "GPU-" and 36 characters and the final zero */

struct cuda_gpu {
    char uuid[CUDA_UUID_TEXT_SIZE]; /* "GPU-01234567-89ab-cdef-0123-456789abcdef" */
    char name[STASIS_NVML_NAME_SIZE];
    uint64_t memory;      /* bytes; 0 when unknown */
    uint64_t memory_free; /* 0 when unknown */
    int minor;            /* N of /dev/nvidiaN; -1 when unknown */
    int mig;              /* 1: cut into MIG instances, 0: no, -1: unknown */
    int persistence;      /* persistence mode: 1, 0, -1: unknown */
    int compute_mode;     /* STASIS_NVML_COMPUTEMODE_…; -1: unknown */
};

/* Accepts "GPU-" and 36 characters, in upper or lower case, or the 36 alone. -EINVAL
 * "cuda-device-map" for anything else (MIG instances above all). */
int cuda_uuid_parse(const char *text, struct stasis_cu_uuid *ret_uuid, struct error *error);
void cuda_uuid_format(const struct stasis_cu_uuid *uuid, char text[static CUDA_UUID_TEXT_SIZE]);
