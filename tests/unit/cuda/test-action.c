/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of each answer of a driver. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "cuda/action.h"

static stasis_cu_result next_result;
static int next_state, state_result, unlocks;

static stasis_cu_result scripted_text(stasis_cu_result result, const char **text)
{
    *text = result == next_result ? "the driver's words" : NULL;
    return STASIS_CU_SUCCESS;
}

static stasis_cu_result scripted_init(unsigned flags)
{
    (void)flags;
    return STASIS_CU_SUCCESS;
}

static stasis_cu_result scripted_tid(int pid, int *tid)
{
    *tid = pid + 1;
    return next_result;
}

static stasis_cu_result scripted_state(int pid, stasis_cu_process_state *state)
{
    (void)pid;
    *state = next_state;
    return state_result;
}

static stasis_cu_result scripted_lock(int pid, struct stasis_cu_checkpoint_lock_args *args)
{
    (void)pid;
    assert_int_equal(args->timeout_msec, 250);
    assert_int_equal(args->reserved1[6], 0);
    return next_result;
}

static stasis_cu_result scripted_checkpoint(int pid,
                                            struct stasis_cu_checkpoint_checkpoint_args *args)
{
    (void)pid;
    assert_int_equal(args->reserved[7], 0);
    return next_result;
}

static unsigned pairs_seen;

static stasis_cu_result scripted_restore(int pid, struct stasis_cu_checkpoint_restore_args *args)
{
    (void)pid;
    pairs_seen = args->gpu_pairs_count;
    return next_result;
}

static stasis_cu_result scripted_unlock(int pid, struct stasis_cu_checkpoint_unlock_args *args)
{
    (void)pid;
    (void)args;
    unlocks++;
    return next_result;
}

static struct cuda_driver driver = {
    .version = 13000,
    .init = scripted_init,
    .get_error_string = scripted_text,
    .get_error_name = scripted_text,
    .checkpoint_get_restore_thread_id = scripted_tid,
    .checkpoint_get_state = scripted_state,
    .checkpoint_lock = scripted_lock,
    .checkpoint_checkpoint = scripted_checkpoint,
    .checkpoint_restore = scripted_restore,
    .checkpoint_unlock = scripted_unlock,
};

static void check(int result, int expected, struct error *error, const char *code,
                  const char *begin)
{
    assert_int_equal(result, expected);
    assert_string_equal(error->code, code);
    assert_memory_equal(error->message, begin, strlen(begin));
    error_done(error);
}

static void results(void **state)
{
    static const struct {
        int result, number;
        const char *code;
    } rows[] = {
        {2, ENOMEM, "cuda-out-of-memory"},
        {46, EBUSY, "cuda-gpu-busy"},
        {101, ENODEV, "cuda-gpu-missing"},
        {304, EPERM, "cuda-permission"},
        {401, EBADFD, "cuda-wrong-state"},
        {801, EOPNOTSUPP, "cuda-not-supported"},
        {802, EAGAIN, "cuda-system-not-ready"},
        {999, EIO, "cuda-failed"},
        {719, EIO, "cuda-failed"},
    };
    struct error error = ERROR_INIT;

    (void)state;
    next_state = STASIS_CU_PROCESS_STATE_LOCKED;
    state_result = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        next_result = rows[i].result;
        check(cuda_checkpoint(&driver, 42, &error), -rows[i].number, &error, rows[i].code,
              "Could not checkpoint on process ID 42: \"the driver's words\"");
    }
}

static void no_state(void **state)
{
    struct error error = ERROR_INIT;
    stasis_cu_process_state found;
    pid_t tid;

    (void)state;
    for (int result = 1; result <= 3; result += 2) {
        next_result = state_result = result;
        check(cuda_get_state(&driver, 42, &found, &error), -ENODATA, &error, "cuda-no-state",
              "Error getting process state for process ID 42: \"the driver's words\"");
        check(cuda_get_restore_tid(&driver, 42, &tid, &error), -ENODATA, &error, "cuda-no-state",
              "Could not find restore thread for process ID 42");
        check(cuda_unlock(&driver, 42, &error), -ENODATA, &error, "cuda-no-state",
              "Could not unlock on process ID 42");
    }
    /* The same answer about a process that does have a state means something else. */
    state_result = 0;
    next_state = STASIS_CU_PROCESS_STATE_LOCKED;
    check(cuda_unlock(&driver, 42, &error), -EIO, &error, "cuda-failed", "Could not unlock");
    next_result = 0;
    assert_int_equal(cuda_get_restore_tid(&driver, 42, &tid, &error), 0);
    assert_int_equal(tid, 43);
}

static void failed_state(void **state)
{
    struct error error = ERROR_INIT;

    (void)state;
    next_result = 2;
    next_state = STASIS_CU_PROCESS_STATE_FAILED;
    state_result = 0;
    check(cuda_restore(&driver, 42, NULL, &error), -ENOTRECOVERABLE, &error, "cuda-failed-state",
          "Could not restore on process ID 42: \"the driver's words\"");
    check(cuda_bring_back(&driver, 42, &error), -ENOTRECOVERABLE, &error, "cuda-failed-state",
          "Process ID 42");
}

static void lock_leaves_running(void **state)
{
    struct error error = ERROR_INIT;

    (void)state;
    next_result = 600;
    state_result = 0;
    next_state = STASIS_CU_PROCESS_STATE_RUNNING;
    unlocks = 0;
    check(cuda_lock(&driver, 42, 250, &error), -ETIMEDOUT, &error, "cuda-lock-timeout",
          "Could not lock on process ID 42");
    assert_int_equal(unlocks, 0);
    /* Somebody else's lock is not taken away. */
    next_result = 401;
    next_state = STASIS_CU_PROCESS_STATE_LOCKED;
    check(cuda_lock(&driver, 42, 250, &error), -EBADFD, &error, "cuda-wrong-state", "Could");
    assert_int_equal(unlocks, 0);
}

static void device_maps(void **state)
{
    struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;
    struct error error = ERROR_INIT;

    (void)state;
    next_result = 0;
    assert_int_equal(cuda_device_map_parse("GPU-aaaaaaaa-0000-4000-8000-000000000001="
                                           "GPU-bbbbbbbb-0000-4000-8000-000000000002",
                                           &map, &error),
                     0);
    assert_int_equal(cuda_restore(&driver, 42, &map, &error), 0);
    assert_int_equal(pairs_seen, 1);
    assert_int_equal(cuda_restore(&driver, 42, NULL, &error), 0);
    assert_int_equal(pairs_seen, 0);
    next_result = 1;
    check(cuda_restore(&driver, 42, &map, &error), -EINVAL, &error, "cuda-device-map",
          "Could not restore on process ID 42: \"the driver's words\"");
    driver.version = 12080;
    check(cuda_restore(&driver, 42, &map, &error), -EOPNOTSUPP, &error, "cuda-driver-too-old",
          "Insufficient driver");
    driver.version = 13000;
    cuda_device_map_done(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results),      cmocka_unit_test(no_state),
        cmocka_unit_test(failed_state), cmocka_unit_test(lock_leaves_running),
        cmocka_unit_test(device_maps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
