/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own declarations of what we use of the CUDA driver's public interface (cuda.h, CUDA 13) and
 * of NVML's. Only numbers and layouts: no header of the vendor is needed to build, and the library
 * is only ever found at run time. A test on a GPU machine compares all of this with the real
 * headers.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* CUresult */
typedef int stasis_cu_result;

enum {
    STASIS_CU_SUCCESS = 0,
    STASIS_CU_ERROR_INVALID_VALUE = 1,
    STASIS_CU_ERROR_OUT_OF_MEMORY = 2,
    STASIS_CU_ERROR_NOT_INITIALIZED = 3,
    STASIS_CU_ERROR_DEINITIALIZED = 4,
    STASIS_CU_ERROR_STUB_LIBRARY = 34,
    STASIS_CU_ERROR_CALL_REQUIRES_NEWER_DRIVER = 36,
    STASIS_CU_ERROR_DEVICE_UNAVAILABLE = 46,
    STASIS_CU_ERROR_NO_DEVICE = 100,
    STASIS_CU_ERROR_INVALID_DEVICE = 101,
    STASIS_CU_ERROR_INVALID_CONTEXT = 201,
    STASIS_CU_ERROR_OPERATING_SYSTEM = 304,
    STASIS_CU_ERROR_INVALID_HANDLE = 400,
    STASIS_CU_ERROR_ILLEGAL_STATE = 401,
    STASIS_CU_ERROR_NOT_FOUND = 500,
    STASIS_CU_ERROR_NOT_READY = 600,
    STASIS_CU_ERROR_NOT_PERMITTED = 800,
    STASIS_CU_ERROR_NOT_SUPPORTED = 801,
    STASIS_CU_ERROR_SYSTEM_NOT_READY = 802,
    STASIS_CU_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
    STASIS_CU_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE = 804,
    STASIS_CU_ERROR_MPS_CONNECTION_FAILED = 805,
    STASIS_CU_ERROR_UNKNOWN = 999,
};

/* CUprocessState; the last two exist from CUDA 13.4 on */
typedef int stasis_cu_process_state;

enum {
    STASIS_CU_PROCESS_STATE_RUNNING = 0,
    STASIS_CU_PROCESS_STATE_LOCKED = 1,
    STASIS_CU_PROCESS_STATE_CHECKPOINTED = 2,
    STASIS_CU_PROCESS_STATE_FAILED = 3,
    STASIS_CU_PROCESS_STATE_CHECKPOINTING = 4,
    STASIS_CU_PROCESS_STATE_RESTORING = 5,
};

/* CUuuid */
struct stasis_cu_uuid {
    unsigned char bytes[16];
};

/* CUcheckpointLockArgs */
struct stasis_cu_checkpoint_lock_args {
    unsigned int timeout_msec; /* 0: no limit */
    unsigned int reserved0;
    uint64_t reserved1[7];
};

/* CUcheckpointCheckpointArgs */
struct stasis_cu_checkpoint_checkpoint_args {
    uint64_t reserved[8];
};

/* CUcheckpointGpuPair */
struct stasis_cu_checkpoint_gpu_pair {
    struct stasis_cu_uuid old_uuid;
    struct stasis_cu_uuid new_uuid;
};

/* CUcheckpointRestoreArgs: reserved altogether before CUDA 13.0 */
struct stasis_cu_checkpoint_restore_args {
    struct stasis_cu_checkpoint_gpu_pair *gpu_pairs;
    unsigned int gpu_pairs_count;
    char reserved[52 - sizeof(void *)];
    uint64_t reserved1;
};

/* CUcheckpointUnlockArgs */
struct stasis_cu_checkpoint_unlock_args {
    uint64_t reserved[8];
};

_Static_assert(sizeof(struct stasis_cu_checkpoint_lock_args) == 64, "CUcheckpointLockArgs");
_Static_assert(sizeof(struct stasis_cu_checkpoint_checkpoint_args) == 64,
               "CUcheckpointCheckpointArgs");
_Static_assert(sizeof(struct stasis_cu_checkpoint_restore_args) == 64, "CUcheckpointRestoreArgs");
_Static_assert(sizeof(struct stasis_cu_checkpoint_unlock_args) == 64, "CUcheckpointUnlockArgs");
_Static_assert(sizeof(struct stasis_cu_checkpoint_gpu_pair) == 32, "CUcheckpointGpuPair");

typedef int stasis_cu_device; /* CUdevice */

typedef stasis_cu_result stasis_cu_init(unsigned int flags);
typedef stasis_cu_result stasis_cu_driver_get_version(int *version);
typedef stasis_cu_result stasis_cu_get_error_string(stasis_cu_result result, const char **text);
typedef stasis_cu_result stasis_cu_get_error_name(stasis_cu_result result, const char **text);
/* cuGetProcAddress_v2 */
typedef stasis_cu_result stasis_cu_get_proc_address(const char *symbol, void **function,
                                                    int cuda_version, uint64_t flags, int *status);
typedef stasis_cu_result stasis_cu_device_get_count(int *count);
typedef stasis_cu_result stasis_cu_device_get(stasis_cu_device *device, int ordinal);
typedef stasis_cu_result stasis_cu_device_get_name(char *name, int length, stasis_cu_device device);
/* cuDeviceGetUuid and, of the same form, cuDeviceGetUuid_v2 */
typedef stasis_cu_result stasis_cu_device_get_uuid(struct stasis_cu_uuid *uuid,
                                                   stasis_cu_device device);
/* cuDeviceTotalMem_v2 */
typedef stasis_cu_result stasis_cu_device_total_mem(size_t *bytes, stasis_cu_device device);

typedef stasis_cu_result stasis_cu_checkpoint_process_get_restore_thread_id(int pid, int *tid);
typedef stasis_cu_result stasis_cu_checkpoint_process_get_state(int pid,
                                                                stasis_cu_process_state *state);
typedef stasis_cu_result
stasis_cu_checkpoint_process_lock(int pid, struct stasis_cu_checkpoint_lock_args *args);
typedef stasis_cu_result
stasis_cu_checkpoint_process_checkpoint(int pid, struct stasis_cu_checkpoint_checkpoint_args *args);
typedef stasis_cu_result
stasis_cu_checkpoint_process_restore(int pid, struct stasis_cu_checkpoint_restore_args *args);
typedef stasis_cu_result
stasis_cu_checkpoint_process_unlock(int pid, struct stasis_cu_checkpoint_unlock_args *args);

/* NVML: nvmlReturn_t, nvmlDevice_t, nvmlMemory_t */
typedef int stasis_nvml_result;
typedef void *stasis_nvml_device;

enum {
    STASIS_NVML_SUCCESS = 0,
    STASIS_NVML_ERROR_NOT_SUPPORTED = 3,
    STASIS_NVML_COMPUTEMODE_DEFAULT = 0,
    STASIS_NVML_COMPUTEMODE_PROHIBITED = 2,
    STASIS_NVML_COMPUTEMODE_EXCLUSIVE_PROCESS = 3,
    STASIS_NVML_UUID_SIZE = 96,
    STASIS_NVML_NAME_SIZE = 96,
    STASIS_NVML_VERSION_SIZE = 80,
};

struct stasis_nvml_memory {
    unsigned long long total;
    unsigned long long free;
    unsigned long long used;
};

typedef stasis_nvml_result stasis_nvml_init(void);     /* nvmlInit_v2 */
typedef stasis_nvml_result stasis_nvml_shutdown(void); /* nvmlShutdown */
typedef stasis_nvml_result stasis_nvml_system_get_driver_version(char *version, unsigned length);
typedef stasis_nvml_result stasis_nvml_device_get_count(unsigned *count); /* …_v2 */
typedef stasis_nvml_result
stasis_nvml_device_get_handle_by_index(unsigned index, stasis_nvml_device *device); /* …_v2 */
typedef stasis_nvml_result stasis_nvml_device_get_uuid(stasis_nvml_device device, char *uuid,
                                                       unsigned length);
typedef stasis_nvml_result stasis_nvml_device_get_name(stasis_nvml_device device, char *name,
                                                       unsigned length);
typedef stasis_nvml_result stasis_nvml_device_get_memory_info(stasis_nvml_device device,
                                                              struct stasis_nvml_memory *memory);
/* current, pending: 0 or 1 */
typedef stasis_nvml_result stasis_nvml_device_get_mig_mode(stasis_nvml_device device,
                                                           unsigned *current, unsigned *pending);
/* persistence mode (0, 1), compute mode, minor number: one unsigned each */
typedef stasis_nvml_result stasis_nvml_device_get_unsigned(stasis_nvml_device device,
                                                           unsigned *value);
