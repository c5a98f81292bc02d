/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/gpu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 8-4-4-4-12 digits, nothing behind them. */
static bool digits_parse(const char *text, struct stasis_cu_uuid *uuid)
{
    size_t digits = 0;

    for (size_t i = 0; i < 36; i++) {
        int digit;

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-')
                return false;
            continue;
        }
        digit = hex_digit(text[i]);
        if (digit < 0)
            return false;
        uuid->bytes[digits / 2] = (unsigned char)(uuid->bytes[digits / 2] << 4 | digit);
        digits++;
    }
    return text[36] == '\0';
}

int cuda_uuid_parse(const char *text, struct stasis_cu_uuid *ret_uuid, struct error *error)
{
    const char *digits = strncasecmp(text, "GPU-", 4) == 0 ? text + 4 : text;
    struct stasis_cu_uuid uuid = {{0}};

    if (digits_parse(digits, &uuid)) {
        *ret_uuid = uuid;
        return 0;
    }
    if (strncasecmp(text, "MIG-", 4) == 0)
        (void)error_set(error, "cuda-mig", 0,
                        "\"%.64s\" is a MIG instance; only whole GPUs can be named", text);
    else
        (void)error_set(error, "cuda-device-map", 0,
                        "\"%.64s\" is not the UUID of a GPU (GPU-xxxxxxxx-xxxx-xxxx-xxxx-"
                        "xxxxxxxxxxxx)",
                        text);
    return -EINVAL;
}

void cuda_uuid_format(const struct stasis_cu_uuid *uuid, char text[static CUDA_UUID_TEXT_SIZE])
{
    const unsigned char *b = uuid->bytes;

    (void)snprintf(text, CUDA_UUID_TEXT_SIZE,
                   "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}
