/* SPDX-License-Identifier: Apache-2.0 */
#include "image/names.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct names *names, const char *name)
{
    char **grown = names->names;

    /* Capacity: the next power of two. */
    if ((names->count & (names->count - 1)) == 0)
        grown = realloc(names->names, (names->count ? names->count * 2 : 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    names->names = grown;
    grown[names->count++] = text_copy(name);
    return 0;
}

static int read_names(DIR *stream, struct names *names)
{
    for (;;) {
        struct dirent *entry;
        int r;

        errno = 0;
        entry = readdir(stream);
        if (!entry)
            return -errno;
        if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
            continue;
        r = add_name(names, entry->d_name);
        if (r < 0)
            return r;
    }
}

int names_read(int directory, struct names *ret_names)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_directory) DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    struct names names = NAMES_INIT;
    int r;

    if (!stream) {
        r = -errno;
        close_fd(&fd);
        return r;
    }
    r = read_names(stream, &names);
    if (r < 0) {
        names_done(&names);
        return r;
    }
    if (names.count)
        qsort(names.names, names.count, sizeof *names.names, compare_names);
    *ret_names = names;
    return 0;
}

void names_done(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = NAMES_INIT;
}
