/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

enum { KEPT = 16, ATTEMPTS = 8 };

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

static void prune(int place)
{
    CLEANUP(close_fd) int copy = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_directory) DIR *directory = copy < 0 ? NULL : fdopendir(steal_fd(&copy));
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

/* Nobody else may have put it there, or may lead us elsewhere by it. */
static int open_place(const char *path)
{
    int r = directory_create_all(path, 0700);
    CLEANUP(close_fd) int fd = -1;
    struct stat st;

    if (r < 0)
        return r;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return st.st_uid == geteuid() ? steal_fd(&fd) : -EPERM;
}

static int open_label(int place, const char *label)
{
    int fd;

    prune(place);
    (void)directory_remove_all(place, label);
    if (mkdirat(place, label, 0700) < 0)
        return -errno;
    fd = openat(place, label, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int logs_open(const char *root, const char *label, char **ret_path, int *ret_fd,
              struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("%s/.logs", root);
    int fd = -ENOENT;

    /* A restore that has ended may remove the empty place at any moment. */
    for (int attempt = 0; attempt < ATTEMPTS && fd == -ENOENT; attempt++) {
        CLEANUP(close_fd) int place = open_place(path);

        fd = place < 0 ? place : open_label(place, label);
    }
    if (fd < 0)
        return error_set(error, fd == -ENOSPC ? "disk-full" : "system", fd, "Can't make %s/%s",
                         path, label);
    *ret_path = text_format("%s/%s", path, label);
    *ret_fd = fd;
    return 0;
}

void logs_remove(const char *path)
{
    CLEANUP(free_ptr) char *place = text_copy(path);
    char *slash = strrchr(place, '/');

    (void)directory_remove_all(AT_FDCWD, path);
    if (slash) {
        *slash = 0;
        (void)rmdir(place);
    }
}
