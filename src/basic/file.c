/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "basic/cleanup.h"
#include "basic/text.h"

static int read_to_end(int fd, struct buffer *buffer)
{
    char piece[16384];

    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return buffer_append(buffer, "", 0);
        r = buffer_append(buffer, piece, (size_t)n);
        if (r < 0)
            return r;
    }
}

int file_read(int directory, const char *path, size_t maximum, char **ret_data, size_t *ret_length)
{
    CLEANUP(close_fd) int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct buffer buffer = BUFFER_INIT(maximum);
    int r;

    if (fd < 0)
        return -errno;
    r = read_to_end(fd, &buffer);
    if (r < 0) {
        buffer_done(&buffer);
        return r;
    }
    *ret_data = buffer.data;
    if (ret_length)
        *ret_length = buffer.length;
    return 0;
}

int file_write_all(int fd, const void *data, size_t length)
{
    const char *next = data;

    while (length > 0) {
        ssize_t n = write(fd, next, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        next += n;
        length -= (size_t)n;
    }
    return 0;
}

static int write_and_sync(int directory, const char *path, const void *data, size_t length)
{
    CLEANUP(close_fd)
    int fd = openat(directory, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r;

    if (fd < 0)
        return -errno;
    r = file_write_all(fd, data, length);
    if (r < 0)
        return r;
    return fsync(fd) < 0 ? -errno : 0;
}

int file_write_atomic(int directory, const char *path, const void *data, size_t length)
{
    CLEANUP(free_ptr) char *temporary = text_format("%s.%d.tmp", path, (int)getpid());
    int r;

    (void)unlinkat(directory, temporary, 0);
    r = write_and_sync(directory, temporary, data, length);
    if (r == 0 && renameat(directory, temporary, directory, path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(directory, temporary, 0);
    return r;
}

static int open_how(int directory, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
        .mode = (flags & O_CREAT) ? mode : 0,
        .resolve = resolve,
    };
    long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);

    return fd < 0 ? -errno : (int)fd;
}

int file_open_beneath(int directory, const char *path, int flags, mode_t mode)
{
    return open_how(directory, path, flags, mode,
                    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int file_open_in_root(int root, const char *path, int flags, mode_t mode)
{
    return open_how(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int directory_create_all(const char *path, mode_t mode)
{
    CLEANUP(free_ptr) char *partial = text_copy(path);

    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(partial, mode) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    if (mkdir(partial, mode) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

static int remove_children(int fd, dev_t device);

static int remove_entry(int directory, const char *name, dev_t device)
{
    CLEANUP(close_fd) int fd = -1;
    struct stat st;
    int r;

    if (unlinkat(directory, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_dev != device)
        return -EXDEV;
    r = remove_children(steal_fd(&fd), device);
    if (r < 0)
        return r;
    return unlinkat(directory, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* Consumes `fd`. */
static int remove_children(int fd, dev_t device)
{
    CLEANUP(close_directory) DIR *stream = fdopendir(fd);
    struct dirent *entry;

    if (!stream) {
        int r = -errno;

        (void)close(fd);
        return r;
    }
    while ((entry = readdir(stream))) {
        int r;

        if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
            continue;
        r = remove_entry(dirfd(stream), entry->d_name, device);
        if (r < 0)
            return r;
    }
    return 0;
}

int directory_remove_all(int directory, const char *path)
{
    struct stat st;

    if (fstatat(directory, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return remove_entry(directory, path, st.st_dev);
}

int fd_duplicate(int fd, int least)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, least);

    return copy < 0 ? -errno : copy;
}

int fd_set_inherited(int fd, bool inherited)
{
    return fcntl(fd, F_SETFD, inherited ? 0 : FD_CLOEXEC) < 0 ? -errno : 0;
}

char *fd_path(int fd)
{
    CLEANUP(free_ptr) char *link = text_format("/proc/self/fd/%d", fd);
    char path[PATH_MAX];
    ssize_t n = readlink(link, path, sizeof path - 1);

    if (n < 0)
        return NULL;
    path[n] = 0;
    return text_copy(path);
}
