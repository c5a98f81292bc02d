/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abi [-v]
 *
 * The project declares by itself what it uses of cuda.h and nvml.h. This, built
 * on a machine that has the real headers, compares every number and layout.
 */
#include <cuda.h>
#include <stdio.h>
#include <string.h>

#include "cuda/driver-abi.h"

#if __has_include(<nvml.h>)
#include <nvml.h>
#define HAVE_NVML 1
#endif

#define SIZE_OF_MEMBER(type, member) sizeof(((type *)NULL)->member)

static int mismatches;
static int comparisons;
static int verbose;

static void compare(const char *what, long long ours, long long theirs)
{
    comparisons += 1;
    if (ours != theirs)
        mismatches += 1;
    if (ours != theirs || verbose)
        printf("%-8s %-48s ours %-6lld header %lld\n", ours == theirs ? "same" : "DIFFERS", what,
               ours, theirs);
}

/* Of a structure: its size; of a member: where it is and how large. */
#define STRUCTURE(ours, theirs) compare("sizeof " #theirs, sizeof(ours), sizeof(theirs))
#define MEMBER(ours, our_member, theirs, their_member)                                 \
    do {                                                                               \
        compare("offsetof " #theirs "." #their_member, offsetof(ours, our_member),     \
                offsetof(theirs, their_member));                                       \
        compare("sizeof " #theirs "." #their_member, SIZE_OF_MEMBER(ours, our_member), \
                SIZE_OF_MEMBER(theirs, their_member));                                 \
    } while (0)
#define CUDA_RESULT(name) compare("CUDA_" #name, STASIS_CU_##name, CUDA_##name)
#define CU_STATE(name) \
    compare("CU_PROCESS_STATE_" #name, STASIS_CU_PROCESS_STATE_##name, CU_PROCESS_STATE_##name)

static void compare_results(void)
{
    CUDA_RESULT(SUCCESS);
    CUDA_RESULT(ERROR_INVALID_VALUE);
    CUDA_RESULT(ERROR_OUT_OF_MEMORY);
    CUDA_RESULT(ERROR_NOT_INITIALIZED);
    CUDA_RESULT(ERROR_DEINITIALIZED);
    CUDA_RESULT(ERROR_STUB_LIBRARY);
    CUDA_RESULT(ERROR_CALL_REQUIRES_NEWER_DRIVER);
    CUDA_RESULT(ERROR_DEVICE_UNAVAILABLE);
    CUDA_RESULT(ERROR_NO_DEVICE);
    CUDA_RESULT(ERROR_INVALID_DEVICE);
    CUDA_RESULT(ERROR_INVALID_CONTEXT);
    CUDA_RESULT(ERROR_OPERATING_SYSTEM);
    CUDA_RESULT(ERROR_INVALID_HANDLE);
    CUDA_RESULT(ERROR_ILLEGAL_STATE);
    CUDA_RESULT(ERROR_NOT_FOUND);
    CUDA_RESULT(ERROR_NOT_READY);
    CUDA_RESULT(ERROR_NOT_PERMITTED);
    CUDA_RESULT(ERROR_NOT_SUPPORTED);
    CUDA_RESULT(ERROR_SYSTEM_NOT_READY);
    CUDA_RESULT(ERROR_SYSTEM_DRIVER_MISMATCH);
    CUDA_RESULT(ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE);
    CUDA_RESULT(ERROR_MPS_CONNECTION_FAILED);
    CUDA_RESULT(ERROR_UNKNOWN);
    compare("sizeof CUresult", sizeof(stasis_cu_result), sizeof(CUresult));
}

static void compare_states(void)
{
    CU_STATE(RUNNING);
    CU_STATE(LOCKED);
    CU_STATE(CHECKPOINTED);
    CU_STATE(FAILED);
#if CUDA_VERSION >= 13040
    CU_STATE(CHECKPOINTING);
    CU_STATE(RESTORING);
#endif
    compare("sizeof CUprocessState", sizeof(stasis_cu_process_state), sizeof(CUprocessState));
}

static void compare_arguments(void)
{
    typedef struct stasis_cu_checkpoint_lock_args lock_args;
    typedef struct stasis_cu_checkpoint_restore_args restore_args;
    typedef struct stasis_cu_checkpoint_gpu_pair gpu_pair;

    STRUCTURE(lock_args, CUcheckpointLockArgs);
    MEMBER(lock_args, timeout_msec, CUcheckpointLockArgs, timeoutMs);
    MEMBER(lock_args, reserved0, CUcheckpointLockArgs, reserved0);
    MEMBER(lock_args, reserved1, CUcheckpointLockArgs, reserved1);
    STRUCTURE(struct stasis_cu_checkpoint_checkpoint_args, CUcheckpointCheckpointArgs);
    STRUCTURE(struct stasis_cu_checkpoint_unlock_args, CUcheckpointUnlockArgs);
    STRUCTURE(restore_args, CUcheckpointRestoreArgs);
#if CUDA_VERSION >= 13000
    STRUCTURE(gpu_pair, CUcheckpointGpuPair);
    MEMBER(gpu_pair, old_uuid, CUcheckpointGpuPair, oldUuid);
    MEMBER(gpu_pair, new_uuid, CUcheckpointGpuPair, newUuid);
    MEMBER(restore_args, gpu_pairs, CUcheckpointRestoreArgs, gpuPairs);
    MEMBER(restore_args, gpu_pairs_count, CUcheckpointRestoreArgs, gpuPairsCount);
#endif
    STRUCTURE(struct stasis_cu_uuid, CUuuid);
    compare("sizeof CUdevice", sizeof(stasis_cu_device), sizeof(CUdevice));
}

static void compare_nvml(void)
{
#ifdef HAVE_NVML
    typedef struct stasis_nvml_memory memory;

    compare("NVML_SUCCESS", STASIS_NVML_SUCCESS, NVML_SUCCESS);
    compare("NVML_ERROR_NOT_SUPPORTED", STASIS_NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NOT_SUPPORTED);
    compare("NVML_COMPUTEMODE_DEFAULT", STASIS_NVML_COMPUTEMODE_DEFAULT, NVML_COMPUTEMODE_DEFAULT);
    compare("NVML_COMPUTEMODE_PROHIBITED", STASIS_NVML_COMPUTEMODE_PROHIBITED,
            NVML_COMPUTEMODE_PROHIBITED);
    compare("NVML_COMPUTEMODE_EXCLUSIVE_PROCESS", STASIS_NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
            NVML_COMPUTEMODE_EXCLUSIVE_PROCESS);
    compare("NVML_DEVICE_UUID_V2_BUFFER_SIZE", STASIS_NVML_UUID_SIZE,
            NVML_DEVICE_UUID_V2_BUFFER_SIZE);
    compare("NVML_DEVICE_NAME_V2_BUFFER_SIZE", STASIS_NVML_NAME_SIZE,
            NVML_DEVICE_NAME_V2_BUFFER_SIZE);
    compare("NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE", STASIS_NVML_VERSION_SIZE,
            NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE);
    STRUCTURE(memory, nvmlMemory_t);
    MEMBER(memory, total, nvmlMemory_t, total);
    MEMBER(memory, free, nvmlMemory_t, free);
    MEMBER(memory, used, nvmlMemory_t, used);
    compare("sizeof nvmlDevice_t", sizeof(stasis_nvml_device), sizeof(nvmlDevice_t));
#else
    printf("nvml.h is not here: not compared\n");
#endif
}

int main(int argc, char **argv)
{
    verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    compare_results();
    compare_states();
    compare_arguments();
    compare_nvml();
    printf("CUDA_VERSION %d: %d compared, %d differ\n", CUDA_VERSION, comparisons, mismatches);
    return mismatches == 0 ? 0 : 1;
}
