/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/process.h"

static int refuse(struct error *error, const struct container *container, int number,
                  const char *what)
{
    return error_set(error, "container-deliver", number, "Can't write '%s' in container '%s'", what,
                     container->name ? container->name : container->id);
}

/* The "/" of the first process, which is still the one that the runtime named. */
static int open_root(const struct container *container, int *ret_root, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    struct process process = PROCESS_INIT;
    int r = process_open(container->pid, &directory, error);

    if (r == 0)
        r = process_read_at(directory, &process, error);
    if (r < 0)
        return r;
    if (process.start_time != container->start_time)
        r = error_set(error, "container-not-running", ESRCH, "Container '%s' has ended",
                      container->id);
    process_done(&process);
    if (r < 0)
        return r;
    r = openat(directory, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (r < 0)
        return refuse(error, container, errno, "/");
    *ret_root = r;
    return 0;
}

/* Opens the directory of `path`, level by level, making what is missing. */
static int open_parent(int root, const char *path)
{
    CLEANUP(free_ptr) char *rest = text_copy(path);
    CLEANUP(close_fd) int directory = file_open_in_root(root, "/", O_RDONLY | O_DIRECTORY, 0);
    char *end = strrchr(rest, '/');

    if (!end)
        return -EINVAL;
    *end = 0;
    for (char *slash = rest; directory >= 0 && slash && *slash;) {
        char *next = strchr(slash + 1, '/');
        int below;

        if (next)
            *next = 0;
        below = file_open_in_root(root, rest, O_RDONLY | O_DIRECTORY, 0);
        if (below == -ENOENT && (mkdirat(directory, slash + 1, 0755) == 0 || errno == EEXIST))
            below = file_open_in_root(root, rest, O_RDONLY | O_DIRECTORY, 0);
        close_fd(&directory);
        directory = below;
        if (next)
            *next = '/';
        slash = next;
    }
    return steal_fd(&directory);
}

static int write_new(int directory, const char *name, const char *text)
{
    CLEANUP(close_fd) int fd = -1;
    int r;

    (void)unlinkat(directory, name, 0);
    fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    r = file_write_all(fd, text, strlen(text));
    if (r == 0 && fchmod(fd, 0644) < 0) /* whatever the mask is */
        r = -errno;
    return r;
}

static int replace(int directory, const char *name, const char *text)
{
    CLEANUP(free_ptr) char *temporary = text_format(".%s.tmp", name);
    int r = write_new(directory, temporary, text);

    if (r == 0 && renameat(directory, temporary, directory, name) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(directory, temporary, 0);
    return r;
}

int deliver_file(const struct container *container, const char *path, const char *text,
                 struct error *error)
{
    CLEANUP(close_fd) int root = -1;
    CLEANUP(close_fd) int directory = -1;
    int r = open_root(container, &root, error);

    if (r < 0)
        return r;
    directory = open_parent(root, path);
    r = directory < 0 ? directory : replace(directory, strrchr(path, '/') + 1, text);
    return r < 0 ? refuse(error, container, r, path) : 0;
}

int deliver_sentinel(const struct container *container, const char *directory, const char *name,
                     const char *text, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("%s/%s", directory, name);

    return deliver_file(container, path, text, error);
}

int deliver_removal(const struct container *container, const char *path, struct error *error)
{
    CLEANUP(free_ptr) char *parent = text_copy(path);
    CLEANUP(close_fd) int root = -1;
    CLEANUP(close_fd) int directory = -1;
    int r = open_root(container, &root, error);

    if (r < 0)
        return r;
    *strrchr(parent, '/') = 0;
    directory = file_open_in_root(root, *parent ? parent : "/", O_RDONLY | O_DIRECTORY, 0);
    if (directory == -ENOENT)
        return 0;
    if (directory < 0)
        return refuse(error, container, directory, path);
    if (unlinkat(directory, strrchr(path, '/') + 1, 0) < 0 && errno != ENOENT)
        return refuse(error, container, errno, path);
    return 0;
}

int deliver_signal(const struct container *container, int number, struct error *error)
{
    CLEANUP(close_fd) int process = (int)syscall(SYS_pidfd_open, container->pid, 0);
    CLEANUP(close_fd) int root = -1;
    int r;

    if (process < 0)
        return error_set(error, "container-not-running", errno, "Container '%s' has ended",
                         container->id);
    r = open_root(container, &root, error); /* it is that process, and the descriptor is its */
    if (r < 0)
        return r;
    if (syscall(SYS_pidfd_send_signal, process, number, NULL, 0) < 0)
        return error_set(error, "container-deliver", errno,
                         "Can't send signal %d to process %d of container '%s'", number,
                         (int)container->pid, container->id);
    return 0;
}
