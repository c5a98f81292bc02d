/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/text.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *allocated)
{
    if (!allocated) {
        (void)fputs("out of memory\n", stderr);
        abort();
    }
    return allocated;
}

void *allocate(size_t size)
{
    return must(calloc(1, size ? size : 1));
}

char *text_copy(const char *text)
{
    return must(strdup(text));
}

char *text_vformat(const char *format, va_list arguments)
{
    char *text = NULL;

    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    return must(text);
}

char *text_format(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    return text;
}

bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool text_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *text, const char *suffix)
{
    size_t length = strlen(text), tail = strlen(suffix);

    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

int text_to_uint64(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (!text || !*text)
        return -EINVAL;
    for (; *text; text++) {
        unsigned digit = (unsigned)(*text - '0');

        if (*text < '0' || *text > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return -ERANGE;
    }
    *ret_value = value;
    return 0;
}

int text_to_int(const char *text, int *ret_value)
{
    bool negative = text && *text == '-';
    uint64_t value = 0;
    int r = text_to_uint64(negative ? text + 1 : text, &value);

    if (r < 0)
        return r;
    if (value > INT_MAX)
        return -ERANGE;
    *ret_value = negative ? -(int)value : (int)value;
    return 0;
}

char *text_bytes(uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    int unit = -1;

    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        return text_format("%" PRIu64 " B", bytes);
    return text_format("%.1f %s", value, units[unit]);
}

int buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    size_t needed;

    if (__builtin_add_overflow(buffer->length, length, &needed) || needed > buffer->maximum)
        return -EFBIG;
    if (needed + 1 > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : 256;
        char *grown;

        while (capacity < needed + 1)
            capacity *= 2;
        grown = realloc(buffer->data, capacity);
        if (!grown)
            return -ENOMEM;
        buffer->data = grown;
        buffer->capacity = capacity;
    }
    if (length)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length = needed;
    buffer->data[needed] = 0;
    return 0;
}

int buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    char *text;
    int r;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    r = buffer_append(buffer, text, strlen(text));
    free(text);
    return r;
}

void buffer_done(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = BUFFER_INIT(buffer->maximum);
}
