/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in for the management library. */
#include "fake-cuda.h"

#include <stdio.h>

enum { NVML_ERROR_INVALID_ARGUMENT = 2, NVML_ERROR_DRIVER_NOT_LOADED = 9 };

stasis_nvml_init nvmlInit_v2;
stasis_nvml_shutdown nvmlShutdown;
stasis_nvml_system_get_driver_version nvmlSystemGetDriverVersion;
stasis_nvml_device_get_count nvmlDeviceGetCount_v2;
stasis_nvml_device_get_handle_by_index nvmlDeviceGetHandleByIndex_v2;
stasis_nvml_device_get_uuid nvmlDeviceGetUUID;
stasis_nvml_device_get_name nvmlDeviceGetName;
stasis_nvml_device_get_memory_info nvmlDeviceGetMemoryInfo;
stasis_nvml_device_get_mig_mode nvmlDeviceGetMigMode;
stasis_nvml_device_get_unsigned nvmlDeviceGetPersistenceMode;
stasis_nvml_device_get_unsigned nvmlDeviceGetComputeMode;
stasis_nvml_device_get_unsigned nvmlDeviceGetMinorNumber;

static struct fake_config config;

stasis_nvml_result nvmlInit_v2(void)
{
    fake_config_read(&config);
    return fake_rules_obey("nvml", 0, NULL) ? NVML_ERROR_DRIVER_NOT_LOADED : STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlShutdown(void)
{
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    static const struct {
        int cuda, driver;
    } drivers[] = {{13040, 615}, {13030, 610}, {13010, 590}, {13000, 580},
                   {12090, 575}, {12080, 570}, {12050, 555}, {0, 550}};
    size_t i = 0;

    while (config.driver_version < drivers[i].cuda)
        i++;
    (void)snprintf(version, length, "%d.0.0-fake", drivers[i].driver);
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = (unsigned)config.gpu_count;
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetHandleByIndex_v2(unsigned index, stasis_nvml_device *device)
{
    if (index >= config.gpu_count)
        return NVML_ERROR_INVALID_ARGUMENT;
    *device = &config.gpus[index];
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetUUID(stasis_nvml_device device, char *uuid, unsigned length)
{
    const unsigned char *b = ((struct fake_gpu *)device)->uuid.bytes;

    (void)snprintf(uuid, length,
                   "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetName(stasis_nvml_device device, char *name, unsigned length)
{
    (void)snprintf(name, length, "%s", ((struct fake_gpu *)device)->name);
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetMemoryInfo(stasis_nvml_device device,
                                           struct stasis_nvml_memory *memory)
{
    uint64_t total = ((struct fake_gpu *)device)->memory;

    *memory = (struct stasis_nvml_memory){.total = total, .free = total};
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetMigMode(stasis_nvml_device device, unsigned *current,
                                        unsigned *pending)
{
    (void)device;
    *current = *pending = (unsigned)config.mig;
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetPersistenceMode(stasis_nvml_device device, unsigned *mode)
{
    (void)device;
    *mode = (unsigned)config.persistence;
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetComputeMode(stasis_nvml_device device, unsigned *mode)
{
    (void)device;
    *mode = (unsigned)config.compute_mode;
    return STASIS_NVML_SUCCESS;
}

stasis_nvml_result nvmlDeviceGetMinorNumber(stasis_nvml_device device, unsigned *minor)
{
    *minor = (unsigned)((struct fake_gpu *)device)->minor;
    return STASIS_NVML_SUCCESS;
}
