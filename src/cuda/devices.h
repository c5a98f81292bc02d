/* SPDX-License-Identifier: Apache-2.0 */
/* The GPUs of this machine, and which of them a process has open. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "cuda/nvml.h"

struct cuda_devices {
    char driver_version[STASIS_NVML_VERSION_SIZE]; /* "580.65.06", or "" */
    size_t count;
    struct cuda_gpu gpus[CUDA_GPUS_MAX];
};

/* By NVML; where that can't be loaded, by /proc/driver/nvidia/gpus and cuInit. Loads the vendor's
 * libraries into this process: for leaf processes. No GPU at all is success with count 0 only when
 * the driver says so; no driver is -ENOENT "cuda-driver-missing". */
int cuda_devices_read(struct cuda_devices *ret_devices, struct error *error);

/* The same, done in a leaf process whose crash is reported as "cuda-worker-died". */
int cuda_devices_probe(struct cuda_devices *ret_devices, struct error *error);

/* What /proc/driver/nvidia/gpus (below `root`, "" for the real one) tells without any library:
 * UUID, model, minor number. Returns the number of GPUs, 0 where there is no such folder. */
size_t cuda_devices_from_proc(const char *root, struct cuda_gpu gpus[static CUDA_GPUS_MAX]);

/* The minor numbers N of the /dev/nvidiaN that a process has open, ascending, each once; `proc` is
 * "/proc". Returns how many (at most `maximum`), or a negative errno. */
int cuda_process_minors(const char *proc, pid_t pid, int *minors, size_t maximum);
