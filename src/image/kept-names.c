/* SPDX-License-Identifier: Apache-2.0 */
#include "image/kept-names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "image/layout.h"

enum { LIST_MAXIMUM = 64 << 20 };

int kept_names_write(int directory, const json_t *paths, struct error *error)
{
    CLEANUP(free_ptr) char *text = json_dumps(paths, JSON_INDENT(1));
    int r = text ? file_write_atomic(directory, KEPT_NAMES, text, strlen(text)) : -ENOMEM;

    return r < 0 ? error_set(error, snapshot_write_code(r), r, "Can't write '%s'", KEPT_NAMES) : 0;
}

/* Who wrote the list is not known for sure, so only names of the one form go. */
static void remove_names(int directory)
{
    CLEANUP(free_ptr) char *text = NULL;
    size_t length = 0;
    struct stat st;
    json_t *paths;

    if (fstatat(directory, KEPT_NAMES, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
        file_read(directory, KEPT_NAMES, LIST_MAXIMUM, &text, &length) < 0)
        return;
    paths = json_loadb(text, length, 0, NULL);
    for (size_t i = 0; i < json_array_size(paths); i++) {
        const char *path = json_string_value(json_array_get(paths, i));
        const char *slash = path && path[0] == '/' ? strrchr(path, '/') : NULL;

        if (slash && text_starts_with(slash + 1, KEPT_NAME_PREFIX))
            (void)unlink(path);
    }
    json_decref(paths);
}

int kept_names_remove_with(int parent, const char *name)
{
    CLEANUP(close_fd)
    int directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (directory >= 0)
        remove_names(directory);
    return directory_remove_all(parent, name);
}
