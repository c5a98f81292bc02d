/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/escape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/mounts.h"
#include "proc/parse.h"

#define GROUP "stasis"

enum { FILE_MAXIMUM = 1 << 20 };

/* A new group of this controller has no processors and no memory until it is told which. */
static int inherit_set(const char *top, const char *name)
{
    CLEANUP(free_ptr) char *from = text_format("%s/%s", top, name);
    CLEANUP(free_ptr) char *to = text_format("%s/" GROUP "/%s", top, name);
    CLEANUP(free_ptr) char *value = NULL;
    CLEANUP(close_fd) int fd = -1;
    size_t length;
    int r = file_read(AT_FDCWD, from, FILE_MAXIMUM, &value, &length);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    fd = open(to, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    return file_write_all(fd, value, length);
}

static int join(const struct mount *mount)
{
    CLEANUP(free_ptr) char *group = text_format("%s/" GROUP, mount->point);
    CLEANUP(free_ptr) char *members = text_format("%s/cgroup.procs", group);
    CLEANUP(close_fd) int fd = -1;
    bool sets = text_equal(mount->type, "cgroup") && strstr(mount->super_options, "cpuset");
    int r = 0;

    if (mkdir(group, 0755) < 0 && errno != EEXIST)
        return -errno;
    if (sets)
        r = inherit_set(mount->point, "cpuset.cpus");
    if (sets && r == 0)
        r = inherit_set(mount->point, "cpuset.mems");
    if (r < 0)
        return r;
    fd = open(members, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : file_write_all(fd, "0", 1);
}

static bool is_contained(void)
{
    CLEANUP(free_ptr) char *groups = NULL;
    size_t length;

    if (file_read(AT_FDCWD, "/proc/self/cgroup", FILE_MAXIMUM, &groups, &length) < 0)
        return false;
    return strstr(groups, "kubepods") || strstr(groups, "/cri-") || strstr(groups, "/crio-");
}

int escape_control_groups(struct error *error)
{
    struct mount_table mounts = {0};
    int r;

    if (!is_contained())
        return 0;
    r = mount_table_read(getpid(), &mounts, error);
    for (size_t i = 0; r == 0 && i < mounts.count; i++) {
        const struct mount *mount = &mounts.mounts[i];

        /* Of a part of a hierarchy the top is no place outside of our container. */
        if (!text_starts_with(mount->type, "cgroup") || !text_equal(mount->root, "/"))
            continue;
        r = join(mount);
        if (r < 0)
            r = error_set(error, "agent-escape", r, "Can't use the control group '%s/" GROUP "'",
                          mount->point);
    }
    mount_table_done(&mounts);
    return r;
}
