/* SPDX-License-Identifier: Apache-2.0 */
/* A worker without any process to work on; the rest is in tests/cuda. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cuda/worker.h"
#include "fake.h"

static struct cuda_worker *started(void)
{
    struct cuda_worker *worker = NULL;
    struct error error = ERROR_INIT;

    fake_library("STASIS_LIBCUDA", "libcuda.so.1");
    fake_machine("");
    if (cuda_worker_start(&worker, &error) < 0)
        fail_msg("%s", error.message);
    return worker;
}

static void nothing_to_do(void **state)
{
    struct cuda_worker *worker = started();
    struct error error = ERROR_INIT;
    struct cuda_process *found;
    pid_t self = getpid();
    size_t count = 1;

    (void)state;
    assert_int_equal(cuda_worker_find(worker, &self, 1, &found, &count, &error), 0);
    assert_int_equal(count, 0);
    free(found);
    assert_int_equal(cuda_worker_lock(worker, NULL, 0, 1000, &error), 0);
    assert_int_equal(cuda_worker_checkpoint(worker, NULL, 0, &error), 0);
    assert_int_equal(cuda_worker_restore(worker, NULL, 0, NULL, &error), 0);
    assert_int_equal(cuda_worker_unlock(worker, NULL, 0, &error), 0);
    assert_int_equal(cuda_worker_roll_back(worker, &error), 0);
    assert_int_equal(cuda_worker_commit(worker, &error), 0);
    assert_true(cuda_worker_plugin_result(worker, NULL, &error) < 0);
    error_done(&error);
    cuda_worker_free(worker);
    cuda_worker_free(NULL);
}

static void unknown_process(void **state)
{
    const struct cuda_process process = {.pid = getpid()};
    struct cuda_worker *worker = started();
    struct error error = ERROR_INIT;
    int states[1];

    (void)state;
    assert_int_equal(cuda_worker_lock(worker, &process, 1, 1000, &error), -ENODATA);
    assert_string_equal(error.code, "cuda-no-state");
    assert_int_equal(cuda_worker_states(worker, &process.pid, 1, states, &error), -ENODATA);
    assert_int_equal(cuda_worker_restore(worker, &process, 1, "nonsense", &error), -EINVAL);
    assert_string_equal(error.code, "cuda-device-map");
    error_done(&error);
    cuda_worker_free(worker);
}

static void no_driver(void **state)
{
    struct cuda_worker *worker = NULL;
    struct error error = ERROR_INIT;

    (void)state;
    (void)setenv("STASIS_LIBCUDA", "/nonexistent/libcuda.so.1", 1);
    assert_int_equal(cuda_worker_start(&worker, &error), -ENOENT);
    assert_string_equal(error.code, "cuda-driver-missing");
    assert_null(worker);
    error_done(&error);
}

/* The socket for CRIU goes away unused. */
static void plugin_without_criu(void **state)
{
    const struct cuda_process process = {.pid = getpid()};
    struct cuda_worker *worker = started();
    struct error error = ERROR_INIT;
    double seconds = 1;
    int fd = -1;

    (void)state;
    assert_int_equal(cuda_worker_plugin_for_capture(worker, NULL, 0, &fd, &error), 0);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(cuda_worker_plugin_result(worker, &seconds, &error), 0);
    assert_true(seconds == 0);
    assert_int_equal(cuda_worker_plugin_for_restore(worker, &process.pid, 1, NULL, &fd, &error), 0);
    assert_true(cuda_worker_plugin_result(worker, NULL, &error) < 0);
    assert_string_equal(error.code, "cuda-plugin-silent");
    (void)close(fd);
    error_done(&error);
    cuda_worker_free(worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(unknown_process),
        cmocka_unit_test(no_driver),
        cmocka_unit_test(plugin_without_criu),
    };

    return cmocka_run_group_tests(tests, NULL, fake_machine_remove);
}
