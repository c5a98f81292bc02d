/* SPDX-License-Identifier: Apache-2.0 */
#include "http/printable.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"

static bool is_continuation(const unsigned char *at, size_t left, size_t count)
{
    if (left < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return false;
    }
    return true;
}

/* How many bytes the well-formed, printable character at `at` has; 0 when there is none. */
static size_t character_length(const unsigned char *at, size_t left)
{
    unsigned char c = at[0];

    if (c < 0x80)
        return c >= 0x20 && c != 0x7f;
    if (c >= 0xc2 && c < 0xe0 && is_continuation(at + 1, left - 1, 1))
        return c == 0xc2 && at[1] < 0xa0 ? 0 : 2;
    if (c >= 0xe0 && c < 0xf0 && is_continuation(at + 1, left - 1, 2))
        return (c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] >= 0xa0) ? 0 : 3;
    if (c >= 0xf0 && c < 0xf5 && is_continuation(at + 1, left - 1, 3))
        return (c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] >= 0x90) ? 0 : 4;
    return 0;
}

char *printable_copy(const char *data, size_t length, size_t maximum)
{
    bool cut = length > maximum;
    size_t left = cut ? maximum : length, used = 0;
    char *copy = allocate(left + sizeof "...");

    while (left > 0) {
        size_t n = character_length((const unsigned char *)data, left);

        if (n > 0)
            memcpy(copy + used, data, n);
        else
            copy[used] = '?', n = 1;
        used += n;
        data += n;
        left -= n;
    }
    if (cut)
        memcpy(copy + used, "...", sizeof "...");
    return copy;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *printable_percent_decode(const char *text, size_t maximum)
{
    size_t length = strlen(text), used = 0;
    CLEANUP(free_ptr) char *decoded = allocate(length + 1);

    for (size_t i = 0; i < length; i++) {
        int high = text[i] == '%' ? digit_value(text[i + 1]) : -1;
        int low = high >= 0 ? digit_value(text[i + 2]) : -1;

        if (low >= 0) {
            decoded[used++] = (char)(high * 16 + low);
            i += 2;
        } else {
            decoded[used++] = text[i];
        }
    }
    return printable_copy(decoded, used, maximum);
}
