/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vendor's driver library, found at run time: a table of what it exports. It works with every
 * driver from 550 on by looking at what is there. Load it only in a process whose crash the rest
 * survives (basic/leaf.h, or a short-lived program).
 */
#pragma once

#include <stdbool.h>

#include "basic/error.h"
#include "cuda/driver-abi.h"

struct cuda_driver {
    void *library;
    int version;      /* of the CUDA interface: 13000 is CUDA 13.0, which driver 580 brought */
    bool initialized; /* cuInit was called and succeeded */

    stasis_cu_init *init;
    stasis_cu_driver_get_version *driver_get_version;
    /* from here on NULL when the driver does not have it */
    stasis_cu_get_error_string *get_error_string;
    stasis_cu_get_error_name *get_error_name;
    stasis_cu_get_proc_address *get_proc_address;
    stasis_cu_device_get_count *device_get_count;
    stasis_cu_device_get *device_get;
    stasis_cu_device_get_name *device_get_name;
    stasis_cu_device_get_uuid *device_get_uuid;
    stasis_cu_device_total_mem *device_total_mem;
    stasis_cu_checkpoint_process_get_restore_thread_id *checkpoint_get_restore_thread_id;
    stasis_cu_checkpoint_process_get_state *checkpoint_get_state;
    stasis_cu_checkpoint_process_lock *checkpoint_lock;
    stasis_cu_checkpoint_process_checkpoint *checkpoint_checkpoint;
    stasis_cu_checkpoint_process_restore *checkpoint_restore;
    stasis_cu_checkpoint_process_unlock *checkpoint_unlock;
    bool custom_storage; /* cuCheckpointOperationComplete is there (driver 615) */
};

/* Loads libcuda.so.1 (or what the environment variable STASIS_LIBCUDA names). The library stays
 * loaded until the process ends. -ENOENT "cuda-driver-missing", "cuda-driver-broken". */
int cuda_driver_open(struct cuda_driver *ret_driver, struct error *error);

/* cuInit, once. Restoring needs it when the GPUs' persistence mode is off; nothing else here does.
 */
int cuda_driver_initialize(struct cuda_driver *driver, struct error *error);

/* 0, or -EOPNOTSUPP "cuda-driver-too-old" with what the driver lacks and which one has it. */
int cuda_driver_require_checkpoint(const struct cuda_driver *driver, struct error *error);
int cuda_driver_require_device_map(const struct cuda_driver *driver, struct error *error);

/* "580.65.06 (CUDA 13.0)", or "of CUDA 13.0" when the kernel module does not tell. Caller frees. */
char *cuda_driver_describe(const struct cuda_driver *driver);

/* The driver's own words for a result: "out of memory", "CUDA_ERROR_OUT_OF_MEMORY". Static. */
const char *cuda_result_text(const struct cuda_driver *driver, stasis_cu_result result);
const char *cuda_result_name(const struct cuda_driver *driver, stasis_cu_result result);
