/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/suggest.h"

/* Digits with at most one '.', independent of the locale; what follows is left in `*ret_rest`. */
static int decimal_parse(const char *text, double *ret_value, const char **ret_rest)
{
    double value = 0, place = 1;
    const char *c = text;
    bool point = false;

    if (*c < '0' || *c > '9')
        return -EINVAL;
    for (; (*c >= '0' && *c <= '9') || (*c == '.' && !point); c++) {
        if (*c == '.') {
            point = true;
        } else if (point) {
            place /= 10;
            value += (*c - '0') * place;
        } else {
            value = value * 10 + (*c - '0');
        }
    }
    *ret_value = value;
    *ret_rest = c;
    return 0;
}

int bytes_parse(const char *text, uint64_t *ret_bytes)
{
    static const char letters[] = "KMGTPE";
    const char *rest, *letter;
    double value;
    int r = text_to_uint64(text, ret_bytes);

    if (r != -EINVAL)
        return r;
    r = decimal_parse(text, &value, &rest);
    if (r < 0)
        return r;
    letter = *rest ? strchr(letters, *rest & ~0x20) : NULL;
    if (letter && *letter) {
        for (const char *l = letters; l <= letter; l++)
            value *= 1024;
        rest++;
        if (rest[0] == 'i' && rest[1] == 'B')
            rest += 2;
        else if (rest[0] == 'B')
            rest++;
    } else if (rest[0] == 'B') {
        rest++;
    } else {
        return -EINVAL;
    }
    if (*rest)
        return -EINVAL;
    if (value >= 18446744073709551615.0)
        return -ERANGE;
    *ret_bytes = (uint64_t)value;
    return 0;
}

int duration_parse(const char *text, double *ret_seconds)
{
    static const struct {
        const char *suffix;
        double seconds;
    } units[] = {
        {"", 1},     {"ms", 0.001}, {"s", 1},       {"m", 60},
        {"min", 60}, {"h", 3600},   {"d", 86400.0}, {"w", 604800.0},
    };
    const char *rest;
    double value;
    int r = decimal_parse(text, &value, &rest);

    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(rest, units[i].suffix) != 0)
            continue;
        value *= units[i].seconds;
        if (value > 1e10)
            return -ERANGE;
        *ret_seconds = value;
        return 0;
    }
    return -EINVAL;
}

bool name_valid(const char *text)
{
    size_t length = strlen(text);

    if (length == 0 || length > 128 || text[0] == '.' || text[0] == '-')
        return false;
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
           length;
}

static int word_check(const struct option_definition *definition, const char *text,
                      struct error *error)
{
    CLEANUP(free_ptr) char *nearest = NULL;
    const char *word;
    size_t length;

    for (size_t i = 0; words_at(definition->words, i, &word, &length); i++) {
        if (strlen(text) == length && memcmp(word, text, length) == 0)
            return 0;
    }
    nearest = suggest_word(text, definition->words);
    if (nearest)
        return error_set(error, "usage", 0, "--%s can't be '%s'; did you mean '%s'? (%s)",
                         definition->name, text, nearest, definition->words);
    return error_set(error, "usage", 0, "--%s can't be '%s'; it is one of %s", definition->name,
                     text, definition->words);
}

static int wrong(const struct option_definition *definition, const char *text, const char *form,
                 struct error *error)
{
    return error_set(error, "usage", 0, "--%s can't be '%s'; it must be %s", definition->name, text,
                     form);
}

static int assignment_check(const char *text)
{
    const char *equals = strchr(text, '=');

    return equals && equals != text ? 0 : -EINVAL;
}

int value_check(const struct option_definition *definition, const char *text, uint64_t *ret_number,
                double *ret_seconds, struct error *error)
{
    switch (definition->type) {
    case VALUE_FLAG:
    case VALUE_TEXT:
        return 0;
    case VALUE_NAME:
        return name_valid(text)
                   ? 0
                   : wrong(
                         definition, text,
                         "1 to 128 letters, digits, '.', '_' or '-', not starting with '.' or '-'",
                         error);
    case VALUE_NUMBER:
        return text_to_uint64(text, ret_number) == 0
                   ? 0
                   : wrong(definition, text, "a whole number, such as 3", error);
    case VALUE_PID:
        if (text_to_uint64(text, ret_number) == 0 && *ret_number > 0 && *ret_number < 1u << 30)
            return 0;
        return wrong(definition, text, "a process id, such as 4711", error);
    case VALUE_BYTES:
        return bytes_parse(text, ret_number) == 0
                   ? 0
                   : wrong(definition, text, "a size, such as 1048576, 64M or 1.5GiB", error);
    case VALUE_DURATION:
        return duration_parse(text, ret_seconds) == 0
                   ? 0
                   : wrong(definition, text,
                           "a duration in seconds or with ms, s, m, h, d or w, such as 90 or 5m",
                           error);
    case VALUE_WORD:
        return word_check(definition, text, error);
    case VALUE_ASSIGNMENT:
        return assignment_check(text) == 0
                   ? 0
                   : wrong(definition, text, "KEY=VALUE, such as A=1", error);
    }
    return 0;
}
