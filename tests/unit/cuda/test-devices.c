/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/file.h"
#include "basic/text.h"
#include "cuda/devices.h"
#include "cuda/mapped.h"
#include "fake.h"

#define A "GPU-aaaaaaaa-0000-4000-8000-000000000001"
#define B "GPU-bbbbbbbb-0000-4000-8000-000000000002"

static char root[] = "/tmp/cuda-devices-XXXXXX";

static void file_put(const char *name, const char *text)
{
    char *path = text_format("%s/%s", root, name);
    char *slash = path;

    while ((slash = strchr(slash + 1, '/')) != NULL) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text)), 0);
    free(path);
}

static void from_proc(void **state)
{
    static struct cuda_gpu gpus[CUDA_GPUS_MAX];

    (void)state;
    assert_int_equal(cuda_devices_from_proc(root, gpus), 0);
    file_put("proc/driver/nvidia/gpus/0000:0a:00.0/information",
             "Model: \t\t NVIDIA H200 NVL \nIRQ:   \t\t 121\nGPU UUID: \t " A
             "\nVideo BIOS: \t 96.00\nDevice Minor: \t 3\n");
    file_put("proc/driver/nvidia/gpus/0000:0b:00.0/numa_status", "nothing of that");
    assert_int_equal(cuda_devices_from_proc(root, gpus), 1);
    assert_string_equal(gpus[0].uuid, A);
    assert_string_equal(gpus[0].name, "NVIDIA H200 NVL");
    assert_int_equal(gpus[0].minor, 3);
    assert_int_equal(gpus[0].mig, -1);
}

static void link_put(int number, const char *target)
{
    char *path = text_format("%s/77/fd/%d", root, number);

    assert_int_equal(symlink(target, path), 0);
    free(path);
}

static void minors_of_a_process(void **state)
{
    int minors[4];

    (void)state;
    assert_int_equal(cuda_process_minors(root, 77, minors, 4), -ENOENT);
    file_put("77/fd/0", "");
    link_put(1, "/dev/nvidiactl");
    link_put(2, "/dev/nvidia-uvm");
    link_put(3, "/dev/nvidia7");
    link_put(4, "/dev/nvidia0");
    link_put(5, "/dev/nvidia7");
    link_put(6, "/home/nvidia1x");
    link_put(7, "socket:[1]");
    assert_int_equal(cuda_process_minors(root, 77, minors, 4), 2);
    assert_int_equal(minors[0], 0);
    assert_int_equal(minors[1], 7);
    assert_int_equal(cuda_process_minors("/proc", getpid(), minors, 4), 0);
}

static void machine(void **state)
{
    static struct cuda_devices devices;
    struct error error = ERROR_INIT;

    (void)state;
    fake_library("STASIS_LIBCUDA", "libcuda.so.1");
    fake_library("STASIS_LIBNVML", "libnvidia-ml.so.1");
    fake_machine("gpu " A " 1000 3 Fake H200\ngpu " B " 2000 4 Fake L4\nmig\n");
    assert_int_equal(cuda_devices_probe(&devices, &error), 0);
    assert_int_equal(devices.count, 2);
    assert_string_equal(devices.gpus[1].uuid, B);
    assert_string_equal(devices.gpus[1].name, "Fake L4");
    assert_int_equal(devices.gpus[1].memory, 2000 << 20);
    assert_int_equal(devices.gpus[1].minor, 4);
    assert_int_equal(devices.gpus[1].mig, 1);
    assert_int_equal(devices.gpus[1].persistence, 0);
    assert_string_equal(devices.driver_version, "580.0.0-fake");
    (void)setenv("STASIS_LIBNVML", "/nonexistent/libnvidia-ml.so.1", 1);
    assert_int_equal(cuda_devices_probe(&devices, &error), 0);
    assert_int_equal(devices.count, 2);
    assert_int_equal(devices.gpus[1].memory, 2000 << 20);
    (void)setenv("STASIS_LIBCUDA", "/nonexistent/libcuda.so.1", 1);
    assert_int_equal(cuda_devices_probe(&devices, &error), -ENOENT);
    assert_string_equal(error.code, "cuda-driver-missing");
    error_done(&error);
    fake_library("STASIS_LIBNVML", "libnvidia-ml.so.1");
    fake_machine("crash nvml\n");
    assert_true(cuda_devices_probe(&devices, &error) < 0);
    assert_string_equal(error.code, "cuda-worker-died");
    error_done(&error);
}

static void no_cuda_here(void **state)
{
    (void)state;
    assert_false(process_maps_libcuda(getpid()));
    assert_false(process_maps_libcuda(0x7ffffff));
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)fake_machine_remove(state);
    return directory_remove_all(AT_FDCWD, root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_proc),
        cmocka_unit_test(minors_of_a_process),
        cmocka_unit_test(machine),
        cmocka_unit_test(no_cuda_here),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
