/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/leaf.h"
#include "basic/text.h"
#include "cuda/driver.h"

/* Copies the value of a line "Key:   value" of a /proc file. */
static bool proc_value(const char *text, const char *key, char *value, size_t size)
{
    const char *line = strstr(text, key);
    size_t length;

    if (!line)
        return false;
    line += strlen(key);
    line += strspn(line, " \t:");
    length = strcspn(line, "\n");
    while (length > 0 && line[length - 1] == ' ')
        length--;
    (void)snprintf(value, size, "%.*s", (int)length, line);
    return true;
}

static bool gpu_from_proc(int directory, const char *name, struct cuda_gpu *gpu)
{
    CLEANUP(free_ptr) char *path = text_format("%s/information", name);
    CLEANUP(free_ptr) char *text = NULL;
    char minor[16] = "";
    size_t length;

    *gpu = (struct cuda_gpu){.minor = -1, .mig = -1, .persistence = -1, .compute_mode = -1};
    if (file_read(directory, path, 65536, &text, &length) < 0)
        return false;
    if (!proc_value(text, "GPU UUID", gpu->uuid, sizeof gpu->uuid))
        return false;
    (void)proc_value(text, "Model", gpu->name, sizeof gpu->name);
    if (proc_value(text, "Device Minor", minor, sizeof minor) &&
        text_to_int(minor, &gpu->minor) < 0)
        gpu->minor = -1;
    return true;
}

size_t cuda_devices_from_proc(const char *root, struct cuda_gpu gpus[static CUDA_GPUS_MAX])
{
    CLEANUP(free_ptr) char *path = text_format("%s/proc/driver/nvidia/gpus", root);
    CLEANUP(close_directory) DIR *directory = opendir(path);
    struct dirent *entry;
    size_t count = 0;

    while (directory && count < CUDA_GPUS_MAX && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.' && gpu_from_proc(dirfd(directory), entry->d_name, &gpus[count]))
            count++;
    }
    return count;
}

static struct cuda_gpu *gpu_by_uuid(struct cuda_devices *devices, const char *uuid)
{
    for (size_t i = 0; i < devices->count; i++) {
        if (strcasecmp(devices->gpus[i].uuid, uuid) == 0)
            return &devices->gpus[i];
    }
    return NULL;
}

/* Adds what the driver knows of one device: memory, and the whole device if /proc has none. */
static void gpu_from_driver(const struct cuda_driver *driver, int ordinal,
                            struct cuda_devices *devices)
{
    char text[CUDA_UUID_TEXT_SIZE];
    struct stasis_cu_uuid uuid;
    stasis_cu_device device;
    struct cuda_gpu *gpu;
    size_t bytes = 0;

    if (driver->device_get(&device, ordinal) != STASIS_CU_SUCCESS ||
        driver->device_get_uuid(&uuid, device) != STASIS_CU_SUCCESS)
        return;
    cuda_uuid_format(&uuid, text);
    gpu = gpu_by_uuid(devices, text);
    if (!gpu && devices->count < CUDA_GPUS_MAX) {
        gpu = &devices->gpus[devices->count++];
        *gpu = (struct cuda_gpu){.minor = -1, .mig = -1, .persistence = -1, .compute_mode = -1};
        memcpy(gpu->uuid, text, sizeof text);
    }
    if (!gpu)
        return;
    (void)driver->device_get_name(gpu->name, sizeof gpu->name, device);
    if (driver->device_total_mem(&bytes, device) == STASIS_CU_SUCCESS)
        gpu->memory = bytes;
}

static int devices_from_driver(struct cuda_devices *devices, struct error *error)
{
    struct cuda_driver driver;
    int count = 0, result;

    result = cuda_driver_open(&driver, error);
    if (result < 0)
        return result;
    devices->count = cuda_devices_from_proc("", devices->gpus);
    if (!driver.device_get_count || !driver.device_get || !driver.device_get_name ||
        !driver.device_get_uuid || !driver.device_total_mem)
        return error_set(error, "cuda-driver-broken", 0, "The CUDA driver can't list its devices");
    if (driver.init(0) == STASIS_CU_ERROR_NO_DEVICE)
        return 0;
    result = cuda_driver_initialize(&driver, error);
    if (result < 0)
        return result;
    if (driver.device_get_count(&count) != STASIS_CU_SUCCESS)
        count = 0;
    for (int i = 0; i < count; i++)
        gpu_from_driver(&driver, i, devices);
    return 0;
}

int cuda_devices_read(struct cuda_devices *ret_devices, struct error *error)
{
    struct cuda_devices devices = {.count = 0};
    int result;

    result = nvml_read_gpus(devices.gpus, &devices.count, devices.driver_version, NULL);
    if (result < 0) {
        devices = (struct cuda_devices){.count = 0};
        result = devices_from_driver(&devices, error);
    }
    if (result == 0)
        *ret_devices = devices;
    return result;
}

struct probe_answer {
    int result;
    char code[64];
    char message[512];
    struct cuda_devices devices;
};

static int probe_work(int socket, void *context)
{
    struct probe_answer answer = {.result = 0};
    struct error error = ERROR_INIT;

    (void)context;
    (void)unsetenv("CUDA_VISIBLE_DEVICES");
    answer.result = cuda_devices_read(&answer.devices, &error);
    if (answer.result < 0) {
        (void)snprintf(answer.code, sizeof answer.code, "%s", error.code);
        (void)snprintf(answer.message, sizeof answer.message, "%s", error.message);
    }
    error_done(&error);
    return send(socket, &answer, sizeof answer, MSG_NOSIGNAL) == (ssize_t)sizeof answer ? 0 : 1;
}

int cuda_devices_probe(struct cuda_devices *ret_devices, struct error *error)
{
    CLEANUP(leaf_done) struct leaf leaf = LEAF_INIT;
    CLEANUP(free_ptr) struct probe_answer *answer = allocate(sizeof *answer);
    ssize_t received;
    int result;

    result = leaf_start(probe_work, NULL, true, &leaf, error);
    if (result < 0)
        return result;
    do {
        received = recv(leaf.socket, answer, sizeof *answer, 0);
    } while (received < 0 && errno == EINTR);
    if (received != (ssize_t)sizeof *answer)
        return error_set(error, "cuda-worker-died", 0,
                         "NVIDIA's libraries crashed while they listed the GPUs");
    if (answer->result < 0) {
        const char *code = text_equal(answer->code, "cuda-driver-missing") ? "cuda-driver-missing"
                                                                           : "cuda-driver-broken";

        (void)error_set(error, code, 0, "%.511s", answer->message);
        return answer->result;
    }
    *ret_devices = answer->devices;
    return 0;
}

/* N of ".../nvidiaN", or -1. */
static int minor_of_link(const char *target)
{
    const char *name = strrchr(target, '/');
    int minor;

    if (!name || !text_starts_with(name, "/nvidia") || name[7] < '0' || name[7] > '9')
        return -1;
    return text_to_int(name + 7, &minor) == 0 ? minor : -1;
}

static int compare_ints(const void *a, const void *b)
{
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

int cuda_process_minors(const char *proc, pid_t pid, int *minors, size_t maximum)
{
    CLEANUP(free_ptr) char *path = text_format("%s/%d/fd", proc, (int)pid);
    CLEANUP(close_directory) DIR *directory = opendir(path);
    struct dirent *entry;
    size_t count = 0;

    if (!directory)
        return -errno;
    while ((entry = readdir(directory)) != NULL) {
        char target[256];
        ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
        bool known = false;
        int minor;

        if (length < 0)
            continue;
        target[length] = '\0';
        minor = minor_of_link(target);
        for (size_t i = 0; i < count; i++)
            known = known || minors[i] == minor;
        if (minor >= 0 && !known && count < maximum)
            minors[count++] = minor;
    }
    qsort(minors, count, sizeof *minors, compare_ints);
    return (int)count;
}
