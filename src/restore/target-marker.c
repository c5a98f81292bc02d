/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file by which the restored processes know that they are restored ones. It is there before the
 * first of them goes on, in their own mount namespace: its directory may be one of those that they
 * alone see (a tmpfs of the snapshot's).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/rootfs-ids.h"
#include "restore/target.h"

static const char content[] = "restored";

static int open_directory(int root, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, *path ? path : "/", &how, sizeof how);

    return fd < 0 ? -errno : fd;
}

/* Every directory above the last name of `path`, made where it is missing; that of the last name is
 * returned. */
static int make_parents(int root, const char *path)
{
    const char *slash = path;
    int directory = open_directory(root, "/");

    while (directory >= 0 && (slash = strchr(slash + 1, '/'))) {
        CLEANUP(free_ptr) char *above = strndup(path, (size_t)(slash - path));
        CLEANUP(close_fd) int parent = directory;
        const char *name = above ? strrchr(above, '/') : NULL;

        if (!name)
            return -ENOMEM;
        if (name[1] && mkdirat(parent, name + 1, 0755) < 0 && errno != EEXIST)
            return -errno;
        directory = open_directory(root, above);
    }
    return directory;
}

static int write_marker(int root, const char *path)
{
    CLEANUP(close_fd) int directory = make_parents(root, path);
    CLEANUP(close_fd) int file = -1;
    const char *name = strrchr(path, '/');

    if (directory < 0)
        return directory;
    if (!name || !name[1])
        return -EISDIR;
    /* An old one may be anything, also a way out of here. */
    if (unlinkat(directory, name + 1, 0) < 0 && errno != ENOENT)
        return -errno;
    file = openat(directory, name + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0)
        return -errno;
    return file_write_all(file, content, strlen(content));
}

/* A file system of a user namespace takes files of its own users only. */
static int become_root_of(const struct container_view *target)
{
    uint32_t user = 0, group = 0;

    if (!target->own_user_ids)
        return 0;
    if (!id_to_outside(&target->ids.users, 0, &user) ||
        !id_to_outside(&target->ids.groups, 0, &group))
        return -EOVERFLOW;
    (void)setfsgid(group);
    (void)setfsuid(user);
    return 0;
}

int target_write_marker(const struct restore *restore, const struct target_helper *helper,
                        const char *path, struct error *error)
{
    CLEANUP(free_ptr) char *place = text_format("/proc/%d/root", (int)helper->pid);
    CLEANUP(close_fd) int root = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = root < 0 ? -errno : become_root_of(&restore->target);

    if (r == 0)
        r = write_marker(root, path);
    (void)setfsuid(0);
    (void)setfsgid(0);
    return r == 0 ? 0 : error_set(error, "marker", r, "Can't write %s in the target", path);
}

void target_remove_marker(const struct restore *restore, const char *path)
{
    if (path && restore->target.root >= 0)
        container_unlink(restore->target.root, path);
}
