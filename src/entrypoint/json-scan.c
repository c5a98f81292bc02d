/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/json-scan.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* The end of the string that begins (after its quote) at `text`. */
static const char *end_of_string(const char *text)
{
    while (*text && *text != '"')
        text += text[0] == '\\' && text[1] ? 2 : 1;
    return text;
}

static const char *skip_space(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

const char *json_scan_member(const char *text, const char *name)
{
    while ((text = strchr(text, '"'))) {
        const char *begin = text + 1, *end = end_of_string(begin);

        if (!*end)
            return NULL; /* cut off */
        text = end + 1;
        if ((size_t)(end - begin) == strlen(name) && strncmp(begin, name, strlen(name)) == 0) {
            const char *after = skip_space(text);

            if (*after == ':')
                return skip_space(after + 1);
        }
    }
    return NULL;
}

char *json_scan_string(const char *text, const char *name)
{
    const char *value = json_scan_member(text, name);
    const char *end;

    if (!value || *value != '"')
        return NULL;
    end = end_of_string(value + 1);
    if (!*end || memchr(value, '\\', (size_t)(end - value)))
        return NULL;
    return strndup(value + 1, (size_t)(end - value - 1));
}
