/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "cuda/driver.h"
#include "cuda/state.h"
#include "fake.h"

static void missing(void **state)
{
    struct cuda_driver driver;
    struct error error = ERROR_INIT;

    (void)state;
    (void)setenv("STASIS_LIBCUDA", "/nonexistent/libcuda.so.1", 1);
    assert_int_equal(cuda_driver_open(&driver, &error), -ENOENT);
    assert_string_equal(error.code, "cuda-driver-missing");
    assert_non_null(strstr(error.message, "/nonexistent"));
    fake_library("STASIS_LIBCUDA", "libnvidia-ml.so.1");
    assert_true(cuda_driver_open(&driver, &error) < 0);
    assert_string_equal(error.code, "cuda-driver-broken");
    error_done(&error);
}

static void version_550(void **state)
{
    struct cuda_driver driver;
    struct error error = ERROR_INIT;

    (void)state;
    fake_library("STASIS_LIBCUDA", "libcuda-550.so");
    fake_machine("");
    assert_int_equal(cuda_driver_open(&driver, &error), 0);
    assert_int_equal(driver.version, 12040);
    assert_int_equal(cuda_driver_require_checkpoint(&driver, &error), -EOPNOTSUPP);
    assert_string_equal(error.code, "cuda-driver-too-old");
    assert_non_null(strstr(error.message, "12.4"));
    assert_non_null(strstr(error.message, "570"));
    error_done(&error);
}

/* A version that promises the functions, a library that lacks them. */
static void broken_promise(void **state)
{
    struct cuda_driver driver;
    struct error error = ERROR_INIT;

    (void)state;
    fake_library("STASIS_LIBCUDA", "libcuda-550.so");
    fake_machine("driver 13000\n");
    assert_int_equal(cuda_driver_open(&driver, &error), 0);
    assert_true(cuda_driver_require_checkpoint(&driver, &error) < 0);
    assert_string_equal(error.code, "cuda-driver-broken");
    error_done(&error);
}

static void version_570_and_580(void **state)
{
    struct cuda_driver driver;
    struct error error = ERROR_INIT;

    (void)state;
    fake_library("STASIS_LIBCUDA", "libcuda.so.1");
    fake_machine("driver 12080\n");
    assert_int_equal(cuda_driver_open(&driver, &error), 0);
    assert_int_equal(cuda_driver_require_checkpoint(&driver, &error), 0);
    assert_int_equal(cuda_driver_require_device_map(&driver, &error), -EOPNOTSUPP);
    assert_non_null(strstr(error.message, "580"));
    fake_machine("driver 13000\n");
    assert_int_equal(cuda_driver_open(&driver, &error), 0);
    assert_int_equal(cuda_driver_require_device_map(&driver, &error), 0);
    /* Newer than these declarations: asked for in the version they know. */
    fake_machine("driver 13040\n");
    assert_int_equal(cuda_driver_open(&driver, &error), 0);
    assert_int_equal(cuda_driver_require_checkpoint(&driver, &error), 0);
    assert_false(driver.custom_storage);
    error_done(&error);
}

static void starting(void **state)
{
    struct cuda_driver driver;
    struct error error = ERROR_INIT;

    (void)state;
    fake_library("STASIS_LIBCUDA", "libcuda.so.1");
    fake_machine("fail init 803\n");
    assert_int_equal(cuda_driver_open(&driver, &error), 0);
    assert_true(cuda_driver_initialize(&driver, &error) < 0);
    assert_string_equal(error.code, "cuda-driver-broken");
    assert_false(driver.initialized);
    error_done(&error);
}

static void words(void **state)
{
    static const char *const names[] = {"running", "locked",        "checkpointed",
                                        "failed",  "checkpointing", "restoring"};
    struct cuda_driver driver;

    (void)state;
    for (int i = 0; i < 6; i++)
        assert_string_equal(cuda_state_name(i), names[i]);
    assert_string_equal(cuda_state_name(6), "unknown");
    assert_string_equal(cuda_state_name(-1), "unknown");
    fake_library("STASIS_LIBCUDA", "libcuda.so.1");
    fake_machine("");
    assert_int_equal(cuda_driver_open(&driver, NULL), 0);
    assert_string_equal(cuda_result_text(&driver, 2), "out of memory");
    assert_string_equal(cuda_result_name(&driver, 2), "CUDA_ERROR_OUT_OF_MEMORY");
    assert_string_equal(cuda_result_text(&driver, 123456), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing),        cmocka_unit_test(version_550),
        cmocka_unit_test(broken_promise), cmocka_unit_test(version_570_and_580),
        cmocka_unit_test(starting),       cmocka_unit_test(words),
    };

    return cmocka_run_group_tests(tests, NULL, fake_machine_remove);
}
