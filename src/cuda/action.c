/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/action.h"

#include <errno.h>
#include <signal.h>

#include "cuda/state.h"

struct meaning {
    stasis_cu_result result;
    const char *code;
    int number;
};

static const struct meaning meanings[] = {
    {STASIS_CU_ERROR_INVALID_VALUE, "cuda-no-state", ENODATA},
    {STASIS_CU_ERROR_NOT_INITIALIZED, "cuda-no-state", ENODATA},
    {STASIS_CU_ERROR_ILLEGAL_STATE, "cuda-wrong-state", EBADFD},
    {STASIS_CU_ERROR_NOT_READY, "cuda-lock-timeout", ETIMEDOUT},
    {STASIS_CU_ERROR_NOT_SUPPORTED, "cuda-not-supported", EOPNOTSUPP},
    {STASIS_CU_ERROR_OUT_OF_MEMORY, "cuda-out-of-memory", ENOMEM},
    {STASIS_CU_ERROR_OPERATING_SYSTEM, "cuda-permission", EPERM},
    {STASIS_CU_ERROR_NOT_PERMITTED, "cuda-permission", EPERM},
    {STASIS_CU_ERROR_NO_DEVICE, "cuda-gpu-missing", ENODEV},
    {STASIS_CU_ERROR_INVALID_DEVICE, "cuda-gpu-missing", ENODEV},
    {STASIS_CU_ERROR_DEVICE_UNAVAILABLE, "cuda-gpu-busy", EBUSY},
    {STASIS_CU_ERROR_SYSTEM_NOT_READY, "cuda-system-not-ready", EAGAIN},
    {STASIS_CU_ERROR_SYSTEM_DRIVER_MISMATCH, "cuda-driver-broken", EIO},
    {STASIS_CU_ERROR_STUB_LIBRARY, "cuda-driver-broken", EIO},
    {STASIS_CU_ERROR_CALL_REQUIRES_NEWER_DRIVER, "cuda-driver-too-old", EOPNOTSUPP},
};

static const struct meaning *meaning_of(stasis_cu_result result)
{
    static const struct meaning other = {STASIS_CU_ERROR_UNKNOWN, "cuda-failed", EIO};

    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].result == result)
            return &meanings[i];
    }
    return &other;
}

int cuda_get_state(const struct cuda_driver *driver, pid_t pid, stasis_cu_process_state *ret_state,
                   struct error *error)
{
    const struct meaning *meaning;
    stasis_cu_result result;

    result = driver->checkpoint_get_state(pid, ret_state);
    if (result == STASIS_CU_SUCCESS)
        return 0;
    meaning = meaning_of(result);
    (void)error_set(error, meaning->code, 0,
                    "Error getting process state for process ID %d: \"%s\"", (int)pid,
                    cuda_result_text(driver, result));
    return -meaning->number;
}

int cuda_get_restore_tid(const struct cuda_driver *driver, pid_t pid, pid_t *ret_tid,
                         struct error *error)
{
    const struct meaning *meaning;
    stasis_cu_result result;
    int tid = 0;

    result = driver->checkpoint_get_restore_thread_id(pid, &tid);
    if (result == STASIS_CU_SUCCESS) {
        *ret_tid = tid;
        return 0;
    }
    meaning = meaning_of(result);
    (void)error_set(error, meaning->code, 0,
                    "Could not find restore thread for process ID %d: \"%s\"", (int)pid,
                    cuda_result_text(driver, result));
    return -meaning->number;
}

/* After an action went wrong the state says more than the result does. */
static int action_failed(const struct cuda_driver *driver, pid_t pid, const char *action,
                         stasis_cu_result result, struct error *error)
{
    const struct meaning *meaning = meaning_of(result);
    const char *text = cuda_result_text(driver, result);
    stasis_cu_process_state state;

    if (driver->checkpoint_get_state(pid, &state) != STASIS_CU_SUCCESS) {
        (void)error_set(error, meaning->code, 0, "Could not %s on process ID %d: \"%s\"", action,
                        (int)pid, text);
        return -meaning->number;
    }
    if (state == STASIS_CU_PROCESS_STATE_FAILED) {
        (void)error_set(error, "cuda-failed-state", 0,
                        "Could not %s on process ID %d: \"%s\" (%s); it is in the state failed and "
                        "can't use CUDA any more",
                        action, (int)pid, text, cuda_result_name(driver, result));
        return -ENOTRECOVERABLE;
    }
    /* It has a state, so that is not what the driver objects to. */
    if (meaning->number == ENODATA)
        meaning = meaning_of(STASIS_CU_ERROR_UNKNOWN);
    (void)error_set(error, meaning->code, 0, "Could not %s on process ID %d: \"%s\" (%s; it is %s)",
                    action, (int)pid, text, cuda_result_name(driver, result),
                    cuda_state_name(state));
    return -meaning->number;
}

int cuda_lock(const struct cuda_driver *driver, pid_t pid, unsigned timeout_msec,
              struct error *error)
{
    struct stasis_cu_checkpoint_lock_args args = {.timeout_msec = timeout_msec};
    stasis_cu_process_state before, after;
    stasis_cu_result result;
    int failure;

    /* Without knowing that it ran before, a lock of somebody else could be taken away below. */
    if (driver->checkpoint_get_state(pid, &before) != STASIS_CU_SUCCESS)
        before = STASIS_CU_PROCESS_STATE_LOCKED;
    result = driver->checkpoint_lock(pid, &args);
    if (result == STASIS_CU_SUCCESS)
        return 0;
    failure = action_failed(driver, pid, "lock", result, error);
    if (before == STASIS_CU_PROCESS_STATE_RUNNING &&
        driver->checkpoint_get_state(pid, &after) == STASIS_CU_SUCCESS &&
        after == STASIS_CU_PROCESS_STATE_LOCKED)
        (void)cuda_unlock(driver, pid, NULL);
    return failure;
}

int cuda_checkpoint(const struct cuda_driver *driver, pid_t pid, struct error *error)
{
    struct stasis_cu_checkpoint_checkpoint_args args = {0};
    stasis_cu_result result;

    result = driver->checkpoint_checkpoint(pid, &args);
    if (result == STASIS_CU_SUCCESS)
        return 0;
    return action_failed(driver, pid, "checkpoint", result, error);
}

int cuda_restore(struct cuda_driver *driver, pid_t pid, const struct cuda_device_map *map,
                 struct error *error)
{
    struct stasis_cu_checkpoint_restore_args args = {0};
    stasis_cu_result result;
    int failure;

    /* The driver restores for a caller that has called cuInit, or under persistence mode. */
    failure = cuda_driver_initialize(driver, error);
    if (failure < 0)
        return failure;
    if (map && map->count > 0) {
        failure = cuda_driver_require_device_map(driver, error);
        if (failure < 0)
            return failure;
        args.gpu_pairs = map->pairs;
        args.gpu_pairs_count = (unsigned)map->count;
    }
    result = driver->checkpoint_restore(pid, &args);
    if (result == STASIS_CU_SUCCESS)
        return 0;
    if (args.gpu_pairs_count == 0 || result != STASIS_CU_ERROR_INVALID_VALUE)
        return action_failed(driver, pid, "restore", result, error);
    (void)error_set(error, "cuda-device-map", 0,
                    "Could not restore on process ID %d: \"%s\" (%s; the device map has to name "
                    "every GPU that the process sees)",
                    (int)pid, cuda_result_text(driver, result), cuda_result_name(driver, result));
    return -EINVAL;
}

int cuda_unlock(const struct cuda_driver *driver, pid_t pid, struct error *error)
{
    struct stasis_cu_checkpoint_unlock_args args = {0};
    stasis_cu_result result;

    result = driver->checkpoint_unlock(pid, &args);
    if (result == STASIS_CU_SUCCESS)
        return 0;
    return action_failed(driver, pid, "unlock", result, error);
}

int cuda_bring_back(struct cuda_driver *driver, pid_t pid, struct error *error)
{
    struct error inner = ERROR_INIT;
    stasis_cu_process_state state;
    int result;

    result = cuda_get_state(driver, pid, &state, &inner);
    if (result < 0 && kill(pid, 0) < 0 && errno == ESRCH) {
        error_done(&inner);
        return 0;
    }
    if (result < 0) {
        error_move(error, &inner);
        return result;
    }
    if (state == STASIS_CU_PROCESS_STATE_FAILED) {
        (void)error_set(error, "cuda-failed-state", 0,
                        "Process ID %d is in the state failed and can't use CUDA any more",
                        (int)pid);
        return -ENOTRECOVERABLE;
    }
    if (state == STASIS_CU_PROCESS_STATE_CHECKPOINTED) {
        result = cuda_restore(driver, pid, NULL, error);
        if (result < 0)
            return result;
        state = STASIS_CU_PROCESS_STATE_LOCKED;
    }
    if (state == STASIS_CU_PROCESS_STATE_LOCKED)
        return cuda_unlock(driver, pid, error);
    return 0;
}
