/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"

static int value_of(char c)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(letters, c);

    return c && at ? (int)(at - letters) : -1;
}

char *base64_decode_text(const char *text)
{
    char *decoded = allocate(strlen(text) / 4 * 3 + 4);
    size_t length = 0;
    uint32_t bits = 0;
    unsigned letters = 0, padding = 0;

    for (; *text; text++) {
        int value = value_of(*text);

        if (strchr("\r\n \t", *text))
            continue;
        padding += *text == '=';
        if ((value < 0 && *text != '=') || (value >= 0 && padding > 0) || padding > 2)
            break;
        bits = bits << 6 | (value < 0 ? 0 : (uint32_t)value);
        if (++letters % 4 != 0)
            continue;
        for (unsigned i = 0; i < 3 - padding; i++)
            decoded[length++] = (char)(bits >> (16 - 8 * i));
        bits = 0;
    }
    if (*text || letters % 4 != 0 || strlen(decoded) != length) {
        free(decoded);
        return NULL;
    }
    return decoded;
}
