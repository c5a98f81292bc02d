/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

enum { KEPT = 16 };

struct entry {
    char *name;
    int64_t seconds;
};

static int newest_first(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;

    return (left->seconds < right->seconds) - (left->seconds > right->seconds);
}

static struct entry *list_entries(DIR *directory, size_t *ret_count)
{
    struct entry *entries = NULL;
    struct dirent *found;
    size_t count = 0;

    while ((found = readdir(directory))) {
        struct stat st;
        struct entry *grown;

        if (found->d_name[0] == '.' ||
            fstatat(dirfd(directory), found->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        grown = realloc(entries, (count + 1) * sizeof *entries);
        if (!grown)
            break;
        entries = grown;
        entries[count++] =
            (struct entry){.name = text_copy(found->d_name), .seconds = st.st_mtim.tv_sec};
    }
    *ret_count = count;
    return entries;
}

static void prune(const char *place)
{
    CLEANUP(close_directory) DIR *directory = opendir(place);
    CLEANUP(free_ptr) struct entry *entries = NULL;
    size_t count = 0;

    if (!directory)
        return;
    entries = list_entries(directory, &count);
    if (count > 1)
        qsort(entries, count, sizeof *entries, newest_first);
    for (size_t i = 0; i < count; i++) {
        if (i >= KEPT)
            (void)directory_remove_all(dirfd(directory), entries[i].name);
        free(entries[i].name);
    }
}

int logs_open(const char *root, const char *label, char **ret_path, int *ret_fd,
              struct error *error)
{
    CLEANUP(free_ptr) char *place = text_format("%s/.logs", root);
    CLEANUP(free_ptr) char *path = text_format("%s/%s", place, label);
    int fd, r;

    prune(place);
    (void)directory_remove_all(AT_FDCWD, path);
    r = directory_create_all(path, 0700);
    fd = r < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        r = r < 0 ? r : -errno;
        return error_set(error, r == -ENOSPC ? "disk-full" : "system", r, "Can't make %s", path);
    }
    *ret_path = STEAL_PTR(path);
    *ret_fd = fd;
    return 0;
}
