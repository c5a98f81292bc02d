/* SPDX-License-Identifier: Apache-2.0 */
#include "container/rootfs-path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/file.h"
#include "basic/text.h"

static bool part_is_sound(const char *part, size_t length)
{
    if (length == 0 || length > NAME_MAX)
        return false;
    return part[0] != '.' || (length > 1 && (length > 2 || part[1] != '.'));
}

bool path_is_sound(const char *path)
{
    size_t depth = 0;

    if (strnlen(path, PATH_LENGTH_MAXIMUM) == PATH_LENGTH_MAXIMUM)
        return false;
    for (;;) {
        size_t length = strcspn(path, "/");

        if (!part_is_sound(path, length) || ++depth > PATH_DEPTH_MAXIMUM)
            return false;
        if (path[length] == 0)
            return true;
        path += length + 1;
    }
}

char *path_join(const char *directory, const char *name)
{
    return text_format("%s%s%s", directory, *directory ? "/" : "", name);
}

char *path_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent = text_copy(path);

    parent[slash ? slash - path : 0] = 0;
    return parent;
}

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int open_below(int directory, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);

    return fd < 0 ? -errno : (int)fd;
}

/* How much of a path fits into one system call, to the end of a part. */
static size_t piece_length(const char *path)
{
    size_t length = strlen(path);

    if (length < PATH_MAX)
        return length;
    length = PATH_MAX - 1;
    while (path[length] != '/')
        length--;
    return length;
}

int path_open_directory(int root, const char *path)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    CLEANUP(close_fd) int fd = open_below(root, ".", flags);

    while (fd >= 0 && *path) {
        size_t length = piece_length(path);
        CLEANUP(free_ptr) char *piece = strndup(path, length);
        int next = piece ? open_below(fd, piece, flags) : -ENOMEM;

        close_fd(&fd);
        fd = next;
        path += length;
        path += *path == '/';
    }
    return steal_fd(&fd);
}

int name_open_file(int directory, const char *name)
{
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = open_below(directory, name, flags | O_NOATIME);

    return fd == -EPERM ? open_below(directory, name, flags) : fd;
}

int name_stat(int directory, const char *name, struct statx *ret)
{
    const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

    if (statx(directory, name, flags, STATX_BASIC_STATS | STATX_MNT_ID, ret) < 0)
        return -errno;
    return ret->stx_mask & STATX_MNT_ID ? 0 : -ENOSYS;
}

void name_list_done(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = NAME_LIST_INIT;
}

static int name_list_add(struct name_list *list, size_t *capacity, const char *name)
{
    if (list->count == *capacity) {
        size_t larger = *capacity ? *capacity * 2 : 16;
        char **names = reallocarray(list->names, larger, sizeof *names);

        if (!names)
            return -ENOMEM;
        list->names = names;
        *capacity = larger;
    }
    list->names[list->count++] = text_copy(name);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(DIR *stream, struct name_list *list)
{
    size_t capacity = 0;
    struct dirent *entry;
    int r = 0;

    while (r == 0 && (errno = 0, entry = readdir(stream))) {
        if (!text_equal(entry->d_name, ".") && !text_equal(entry->d_name, ".."))
            r = name_list_add(list, &capacity, entry->d_name);
    }
    return r < 0 ? r : -errno;
}

int name_list_read(int directory, struct name_list *ret)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_directory) DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct name_list list = NAME_LIST_INIT;
    int r = stream ? 0 : -errno;

    if (!stream) {
        close_fd(&fd);
        return r;
    }
    r = read_names(stream, &list);
    if (r < 0) {
        name_list_done(&list);
        return r;
    }
    if (list.count > 0)
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    *ret = list;
    return 0;
}

/* Goes on after -EBUSY, and gives it when nothing else went wrong. */
static int remove_below(int directory, uint64_t mount)
{
    CLEANUP(name_list_done) struct name_list list = NAME_LIST_INIT;
    int result = 0, r = name_list_read(directory, &list);

    for (size_t i = 0; i < list.count && (r == 0 || r == -EBUSY); i++) {
        r = name_remove_all(directory, list.names[i], mount);
        if (r < 0)
            result = r;
    }
    return r < 0 ? r : result;
}

/* The kernel would remove a mount point that is one only in another mount namespace, and the mount
 * with it; so each name is looked at before. */
int name_remove_all(int directory, const char *name, uint64_t mount)
{
    CLEANUP(close_fd) int fd = -1;
    struct statx st;
    int r = name_stat(directory, name, &st);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (st.stx_mnt_id != mount)
        return -EBUSY;
    if (!S_ISDIR(st.stx_mode))
        return unlinkat(directory, name, 0) < 0 && errno != ENOENT ? -errno : 0;
    fd = open_below(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    r = fd < 0 ? fd : remove_below(fd, mount);
    if (r < 0)
        return r == -EXDEV ? -EBUSY : r;
    return unlinkat(directory, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}
