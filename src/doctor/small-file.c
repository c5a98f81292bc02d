/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/small-file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

enum { MAXIMUM = 256 * 1024 };

char *small_file_line(const char *path)
{
    CLEANUP(free_ptr) char *data = NULL;

    if (file_read(AT_FDCWD, path, MAXIMUM, &data, NULL) < 0)
        return NULL;
    data[strcspn(data, "\n")] = 0;
    return STEAL_PTR(data);
}

long long small_file_number(const char *path, const char *key)
{
    CLEANUP(free_ptr) char *data = NULL;
    size_t length = strlen(key);

    if (file_read(AT_FDCWD, path, MAXIMUM, &data, NULL) < 0)
        return -1;
    for (const char *line = data; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            return strtoll(line + length + 1, NULL, 10);
    }
    return -1;
}

char *small_file_choice(const char *path)
{
    CLEANUP(free_ptr) char *line = small_file_line(path);
    const char *open = line ? strchr(line, '[') : NULL;

    return open ? text_format("%.*s", (int)strcspn(open + 1, "]"), open + 1) : NULL;
}
