/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/nvml.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct nvml {
    stasis_nvml_init *init;
    stasis_nvml_shutdown *shutdown;
    stasis_nvml_device_get_count *get_count;
    stasis_nvml_device_get_handle_by_index *get_handle;
    stasis_nvml_device_get_uuid *get_uuid;
    stasis_nvml_device_get_name *get_name;
    stasis_nvml_device_get_memory_info *get_memory;
    /* what follows may be missing */
    stasis_nvml_system_get_driver_version *get_version;
    stasis_nvml_device_get_mig_mode *get_mig;
    stasis_nvml_device_get_unsigned *get_persistence;
    stasis_nvml_device_get_unsigned *get_compute_mode;
    stasis_nvml_device_get_unsigned *get_minor;
};

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
    {"nvmlInit_v2", offsetof(struct nvml, init)},
    {"nvmlShutdown", offsetof(struct nvml, shutdown)},
    {"nvmlDeviceGetCount_v2", offsetof(struct nvml, get_count)},
    {"nvmlDeviceGetHandleByIndex_v2", offsetof(struct nvml, get_handle)},
    {"nvmlDeviceGetUUID", offsetof(struct nvml, get_uuid)},
    {"nvmlDeviceGetName", offsetof(struct nvml, get_name)},
    {"nvmlDeviceGetMemoryInfo", offsetof(struct nvml, get_memory)},
    {"nvmlSystemGetDriverVersion", offsetof(struct nvml, get_version)},
    {"nvmlDeviceGetMigMode", offsetof(struct nvml, get_mig)},
    {"nvmlDeviceGetPersistenceMode", offsetof(struct nvml, get_persistence)},
    {"nvmlDeviceGetComputeMode", offsetof(struct nvml, get_compute_mode)},
    {"nvmlDeviceGetMinorNumber", offsetof(struct nvml, get_minor)},
};

static int nvml_open(struct nvml *nvml, struct error *error)
{
    const char *path = getenv("STASIS_LIBNVML");
    void *library;

    if (!path || !*path)
        path = "libnvidia-ml.so.1";
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        (void)error_set(error, "cuda-nvml-missing", 0, "Can't load NVIDIA's management library: %s",
                        dlerror());
        return -ENOENT;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *function = dlsym(library, symbols[i].name);

        memcpy((char *)nvml + symbols[i].offset, &function, sizeof function);
    }
    if (!nvml->init || !nvml->shutdown || !nvml->get_count || !nvml->get_handle ||
        !nvml->get_uuid || !nvml->get_name || !nvml->get_memory)
        return error_set(error, "cuda-nvml-failed", 0, "%s is not NVIDIA's management library",
                         path);
    return 0;
}

static int unsigned_read(stasis_nvml_device_get_unsigned *get, stasis_nvml_device device)
{
    unsigned value;

    return get && get(device, &value) == STASIS_NVML_SUCCESS ? (int)value : -1;
}

static stasis_nvml_result gpu_read(const struct nvml *nvml, unsigned index, struct cuda_gpu *gpu)
{
    char uuid[STASIS_NVML_UUID_SIZE] = "";
    struct stasis_nvml_memory memory = {0};
    unsigned current, pending;
    stasis_nvml_device device;
    stasis_nvml_result result;

    result = nvml->get_handle(index, &device);
    if (result == STASIS_NVML_SUCCESS)
        result = nvml->get_uuid(device, uuid, sizeof uuid);
    if (result == STASIS_NVML_SUCCESS)
        result = nvml->get_name(device, gpu->name, sizeof gpu->name);
    if (result != STASIS_NVML_SUCCESS)
        return result;
    memcpy(gpu->uuid, uuid, sizeof gpu->uuid - 1);
    if (nvml->get_memory(device, &memory) == STASIS_NVML_SUCCESS) {
        gpu->memory = memory.total;
        gpu->memory_free = memory.free;
    }
    gpu->mig = nvml->get_mig && nvml->get_mig(device, &current, &pending) == STASIS_NVML_SUCCESS
                   ? (int)current
                   : -1;
    gpu->persistence = unsigned_read(nvml->get_persistence, device);
    gpu->compute_mode = unsigned_read(nvml->get_compute_mode, device);
    gpu->minor = unsigned_read(nvml->get_minor, device);
    return STASIS_NVML_SUCCESS;
}

int nvml_read_gpus(struct cuda_gpu gpus[static CUDA_GPUS_MAX], size_t *ret_count,
                   char version[static STASIS_NVML_VERSION_SIZE], struct error *error)
{
    struct nvml nvml = {0};
    stasis_nvml_result status;
    unsigned count = 0;
    int result;

    result = nvml_open(&nvml, error);
    if (result < 0)
        return result;
    status = nvml.init();
    if (status != STASIS_NVML_SUCCESS)
        return error_set(error, "cuda-nvml-failed", 0,
                         "NVIDIA's management library can't start (result %d)", status);
    version[0] = '\0';
    if (nvml.get_version)
        (void)nvml.get_version(version, STASIS_NVML_VERSION_SIZE);
    status = nvml.get_count(&count);
    if (count > CUDA_GPUS_MAX)
        count = CUDA_GPUS_MAX;
    for (unsigned i = 0; i < count && status == STASIS_NVML_SUCCESS; i++) {
        gpus[i] = (struct cuda_gpu){0};
        status = gpu_read(&nvml, i, &gpus[i]);
    }
    (void)nvml.shutdown();
    if (status != STASIS_NVML_SUCCESS)
        return error_set(error, "cuda-nvml-failed", 0,
                         "NVIDIA's management library can't describe the GPUs (result %d)", status);
    *ret_count = count;
    return 0;
}
