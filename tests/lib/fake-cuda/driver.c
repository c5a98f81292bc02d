/* SPDX-License-Identifier: Apache-2.0 */
/* What every driver can tell about itself. */
#include "fake-cuda.h"

#include <dlfcn.h>
#include <string.h>

stasis_cu_driver_get_version cuDriverGetVersion;
stasis_cu_get_error_string cuGetErrorString;
stasis_cu_get_error_name cuGetErrorName;
stasis_cu_get_proc_address cuGetProcAddress_v2;

static const struct {
    int result;
    const char *name, *text;
} results[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {304, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {401, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {800, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

stasis_cu_result cuDriverGetVersion(int *version)
{
    struct fake_config config;

    fake_config_read(&config);
    *version = config.driver_version;
    return STASIS_CU_SUCCESS;
}

static stasis_cu_result text_find(stasis_cu_result result, bool name, const char **text)
{
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        if (results[i].result == result) {
            *text = name ? results[i].name : results[i].text;
            return STASIS_CU_SUCCESS;
        }
    }
    *text = NULL;
    return STASIS_CU_ERROR_INVALID_VALUE;
}

stasis_cu_result cuGetErrorString(stasis_cu_result result, const char **text)
{
    return text_find(result, false, text);
}

stasis_cu_result cuGetErrorName(stasis_cu_result result, const char **text)
{
    return text_find(result, true, text);
}

stasis_cu_result cuGetProcAddress_v2(const char *symbol, void **function, int cuda_version,
                                     uint64_t flags, int *status)
{
    void *self = NULL;
    int version;
    Dl_info info;

    (void)flags;
    (void)cuDriverGetVersion(&version);
    *function = NULL;
    if (cuda_version > version)
        return STASIS_CU_ERROR_INVALID_VALUE;
    if (dladdr(&fake_cuda_mailbox, &info))
        self = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (self && (strncmp(symbol, "cuCheckpoint", 12) != 0 || cuda_version >= 12080))
        *function = dlsym(self, symbol);
    if (self)
        (void)dlclose(self);
    /* 0: found, 1: not found */
    if (status)
        *status = *function ? 0 : 1;
    return *function ? STASIS_CU_SUCCESS : STASIS_CU_ERROR_NOT_FOUND;
}
