/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

/* The newest interface that these declarations were written for. */
static const int known_version = 13000;
static const int checkpoint_version = 12080, device_map_version = 13000;

struct symbol {
    const char *name;
    size_t offset; /* in struct cuda_driver */
    bool versioned;
};

#define FIELD(field) offsetof(struct cuda_driver, field)

static const struct symbol symbols[] = {
    {"cuInit", FIELD(init), false},
    {"cuDriverGetVersion", FIELD(driver_get_version), false},
    {"cuGetErrorString", FIELD(get_error_string), false},
    {"cuGetErrorName", FIELD(get_error_name), false},
    {"cuGetProcAddress_v2", FIELD(get_proc_address), false},
    {"cuDeviceGetCount", FIELD(device_get_count), false},
    {"cuDeviceGet", FIELD(device_get), false},
    {"cuDeviceGetName", FIELD(device_get_name), false},
    {"cuDeviceGetUuid", FIELD(device_get_uuid), false},
    {"cuDeviceGetUuid_v2", FIELD(device_get_uuid), false},
    {"cuDeviceTotalMem_v2", FIELD(device_total_mem), false},
    {"cuCheckpointProcessGetRestoreThreadId", FIELD(checkpoint_get_restore_thread_id), true},
    {"cuCheckpointProcessGetState", FIELD(checkpoint_get_state), true},
    {"cuCheckpointProcessLock", FIELD(checkpoint_lock), true},
    {"cuCheckpointProcessCheckpoint", FIELD(checkpoint_checkpoint), true},
    {"cuCheckpointProcessRestore", FIELD(checkpoint_restore), true},
    {"cuCheckpointProcessUnlock", FIELD(checkpoint_unlock), true},
};

/* By version where the driver can tell versions apart: a plain look-up gives the oldest form. */
static void *symbol_find(const struct cuda_driver *driver, const struct symbol *symbol)
{
    int version = driver->version < known_version ? driver->version : known_version, status = 0;
    void *function = NULL;

    if (symbol->versioned && driver->get_proc_address && driver->version > 0 &&
        driver->get_proc_address(symbol->name, &function, version, 0, &status) ==
            STASIS_CU_SUCCESS &&
        function)
        return function;
    return dlsym(driver->library, symbol->name);
}

static void symbols_load(struct cuda_driver *driver, bool versioned)
{
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *function;

        if (symbols[i].versioned != versioned)
            continue;
        function = symbol_find(driver, &symbols[i]);
        if (function)
            memcpy((char *)driver + symbols[i].offset, &function, sizeof function);
    }
}

int cuda_driver_open(struct cuda_driver *ret_driver, struct error *error)
{
    struct cuda_driver driver = {0};
    const char *path = getenv("STASIS_LIBCUDA");
    stasis_cu_result result;

    if (!path || !*path)
        path = "libcuda.so.1";
    driver.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!driver.library) {
        (void)error_set(error, "cuda-driver-missing", 0, "Can't load the CUDA driver library: %s",
                        dlerror());
        return -ENOENT;
    }
    symbols_load(&driver, false);
    if (!driver.init || !driver.driver_get_version)
        return error_set(error, "cuda-driver-broken", 0, "%s is not a CUDA driver library", path);
    result = driver.driver_get_version(&driver.version);
    if (result != STASIS_CU_SUCCESS)
        return error_set(error, "cuda-driver-broken", 0, "The CUDA driver does not work: \"%s\"",
                         cuda_result_text(&driver, result));
    symbols_load(&driver, true);
    driver.custom_storage = dlsym(driver.library, "cuCheckpointOperationComplete") != NULL;
    *ret_driver = driver;
    return 0;
}

int cuda_driver_initialize(struct cuda_driver *driver, struct error *error)
{
    stasis_cu_result result;

    if (driver->initialized)
        return 0;
    result = driver->init(0);
    if (result != STASIS_CU_SUCCESS)
        return error_set(error, "cuda-driver-broken", 0, "The CUDA driver can't start: \"%s\"",
                         cuda_result_text(driver, result));
    driver->initialized = true;
    return 0;
}

/* From "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun …". */
static char *kernel_module_version(void)
{
    CLEANUP(free_ptr) char *text = NULL;
    size_t length;
    char *word, *rest = NULL;

    if (file_read(AT_FDCWD, "/proc/driver/nvidia/version", 4096, &text, &length) < 0)
        return NULL;
    for (word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        if (word[0] >= '1' && word[0] <= '9' && strchr(word, '.'))
            return text_copy(word);
    }
    return NULL;
}

char *cuda_driver_describe(const struct cuda_driver *driver)
{
    CLEANUP(free_ptr) char *module = kernel_module_version();
    int major = driver->version / 1000, minor = driver->version % 1000 / 10;

    if (module)
        return text_format("%s (CUDA %d.%d)", module, major, minor);
    return text_format("of CUDA %d.%d", major, minor);
}

static int too_old(const struct cuda_driver *driver, const char *what, const char *since,
                   struct error *error)
{
    CLEANUP(free_ptr) char *description = cuda_driver_describe(driver);

    (void)error_set(error, "cuda-driver-too-old", 0,
                    "Insufficient driver: this driver, %s, has no %s; driver %s does", description,
                    what, since);
    return -EOPNOTSUPP;
}

int cuda_driver_require_checkpoint(const struct cuda_driver *driver, struct error *error)
{
    if (driver->checkpoint_get_restore_thread_id && driver->checkpoint_get_state &&
        driver->checkpoint_lock && driver->checkpoint_checkpoint && driver->checkpoint_restore &&
        driver->checkpoint_unlock)
        return 0;
    if (driver->version >= checkpoint_version)
        return error_set(error, "cuda-driver-broken", 0,
                         "This CUDA driver library lacks the cuCheckpointProcess functions that "
                         "its version promises");
    return too_old(driver, "checkpoint interface (cuCheckpointProcess…)", "570 and newer", error);
}

int cuda_driver_require_device_map(const struct cuda_driver *driver, struct error *error)
{
    if (driver->version >= device_map_version)
        return 0;
    return too_old(driver, "way to restore onto other GPUs (--device-map)", "580 and newer", error);
}

const char *cuda_result_text(const struct cuda_driver *driver, stasis_cu_result result)
{
    const char *text = NULL;

    if (driver->get_error_string && driver->get_error_string(result, &text) == STASIS_CU_SUCCESS &&
        text)
        return text;
    return "unknown error";
}

const char *cuda_result_name(const struct cuda_driver *driver, stasis_cu_result result)
{
    const char *text = NULL;

    if (driver->get_error_name && driver->get_error_name(result, &text) == STASIS_CU_SUCCESS &&
        text)
        return text;
    return "CUDA_ERROR_UNKNOWN";
}
