/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/parse.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

char *parse_line(char **cursor)
{
    char *line = *cursor, *end;

    if (!line || !*line)
        return NULL;
    end = strchr(line, '\n');
    if (end) {
        *end = 0;
        *cursor = end + 1;
    } else {
        *cursor = line + strlen(line);
    }
    return line;
}

char *parse_field(char **cursor)
{
    char *field = *cursor + strspn(*cursor, " \t");
    char *end = field + strcspn(field, " \t");

    if (end == field) {
        *cursor = end;
        return NULL;
    }
    *cursor = *end ? end + 1 : end;
    *end = 0;
    return field;
}

static unsigned digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return (unsigned)(digit - '0');
    if (digit >= 'a' && digit <= 'f')
        return (unsigned)(digit - 'a') + 10;
    if (digit >= 'A' && digit <= 'F')
        return (unsigned)(digit - 'A') + 10;
    return UINT_MAX;
}

int parse_number(const char *text, unsigned base, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (!text || !*text)
        return -EINVAL;
    for (; *text; text++) {
        unsigned digit = digit_value(*text);

        if (digit >= base)
            return -EINVAL;
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return -ERANGE;
    }
    *ret_value = value;
    return 0;
}

int parse_pid(const char *text, pid_t *ret_pid)
{
    uint64_t value;
    int r = parse_number(text, 10, &value);

    if (r < 0)
        return r;
    if (value > INT_MAX)
        return -ERANGE;
    *ret_pid = (pid_t)value;
    return 0;
}

int parse_device(const char *text, unsigned base, dev_t *ret_device)
{
    const char *colon = text ? strchr(text, ':') : NULL;
    char first[16];
    uint64_t high, low;
    int r;

    if (!colon || (size_t)(colon - text) >= sizeof first)
        return -EINVAL;
    memcpy(first, text, (size_t)(colon - text));
    first[colon - text] = 0;
    r = parse_number(first, base, &high);
    if (r == 0)
        r = parse_number(colon + 1, base, &low);
    if (r < 0)
        return r;
    if (high > UINT_MAX || low > UINT_MAX)
        return -ERANGE;
    *ret_device = makedev((unsigned)high, (unsigned)low);
    return 0;
}

static bool is_octal(char digit)
{
    return digit >= '0' && digit <= '7';
}

void parse_unescape(char *text)
{
    char *out = text;

    while (*text) {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && is_octal(text[2]) &&
            is_octal(text[3])) {
            int value = (text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0');

            /* A zero cannot be in a path: leave the escape as it is. */
            if (value) {
                *out++ = (char)value;
                text += 4;
                continue;
            }
        }
        *out++ = *text++;
    }
    *out = 0;
}

const char *parse_value(const char *line, const char *key)
{
    size_t length = strlen(key);

    if (strncmp(line, key, length) != 0 || line[length] != ':')
        return NULL;
    line += length + 1;
    return line + strspn(line, " \t");
}

uint64_t parse_leading_number(const char *value)
{
    uint64_t number = 0;

    for (value += strspn(value, " \t"); *value >= '0' && *value <= '9'; value++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*value - '0'), &number))
            return UINT64_MAX;
    }
    return number;
}
