/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a container: those changed in its image, and those in its own tmpfs mounts. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/fault.h"
#include "basic/text.h"
#include "container/rootfs.h"
#include "restore/target.h"

static struct rootfs_apply_options options_for(const struct restore *restore)
{
    return (struct rootfs_apply_options){.ids = restore->target.ids, .devices = true};
}

static const char *member(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static int open_archive(const struct restore *restore, const char *name, struct error *error)
{
    int fd = snapshot_open_file(restore->snapshot, name);

    return fd >= 0 ? fd : error_set(error, "snapshot-read", fd, "Can't open %s", name);
}

int target_apply_rootfs(const struct restore *restore, struct error *error)
{
    const json_t *rootfs = json_object_get(restore->plan.container, "rootfs");
    const struct rootfs_apply_options options = options_for(restore);
    struct rootfs_summary summary;
    CLEANUP(close_fd) int archive = -1;
    int r = fault_point("restore-rootfs", error);

    if (r < 0 || !json_is_object(rootfs))
        return r;
    archive = r = open_archive(restore, member(rootfs, "archive"), error);
    return r < 0 ? r : rootfs_apply(archive, restore->target.root, &options, &summary, error);
}

/* Of all that a tmpfs can be told, what limits it; what it is for it gets from the archive. */
static void set_limits(int context, const char *options)
{
    static const char *const known[] = {"size", "nr_blocks", "nr_inodes", "huge"};
    CLEANUP(free_ptr) char *words = text_copy(options);
    char *rest = NULL;

    for (char *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(word, '=');

        if (!value)
            continue;
        *value++ = 0;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (text_equal(word, known[i]))
                (void)syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, word, value, 0);
        }
    }
}

static int make_tmpfs(const char *super_options)
{
    CLEANUP(close_fd) int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

    if (context < 0)
        return -errno;
    (void)syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", "stasis", 0);
    set_limits(context, super_options);
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    return (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
}

static int set_flags(int mount, const char *options)
{
    struct mount_attr attribute = {.attr_set = mount_attributes(options)};

    return syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attribute, sizeof attribute) < 0
               ? -errno
               : 0;
}

/* The target's own limits count where it has such a mount. */
static const char *limits_of(const struct restore *restore, const json_t *entry)
{
    const char *point = member(entry, "point");

    for (size_t i = 0; i < restore->target.mounts.count; i++) {
        const struct mount *mount = &restore->target.mounts.mounts[i];

        if (text_equal(mount->point, point) && text_equal(mount->type, "tmpfs"))
            return mount->super_options;
    }
    return member(entry, "super_options");
}

static int make_one(const struct restore *restore, const json_t *entry,
                    struct target_mount *ret_mount, struct error *error)
{
    const struct rootfs_apply_options options = options_for(restore);
    struct rootfs_summary summary;
    CLEANUP(close_fd) int mount = make_tmpfs(limits_of(restore, entry));
    CLEANUP(close_fd) int archive = -1, directory = -1;
    int r;

    if (mount >= 0)
        directory = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return error_set(error, "shm-load", errno, "Can't make a tmpfs for %s",
                         member(entry, "point"));
    archive = r = open_archive(restore, member(entry, "archive"), error);
    if (r >= 0)
        r = tree_apply(archive, directory, &options, &summary, error);
    if (r == 0) {
        r = set_flags(mount, member(entry, "options"));
        if (r < 0)
            return error_set(error, "shm-load", r, "Can't set the flags of %s",
                             member(entry, "point"));
        *ret_mount = (struct target_mount){.fd = steal_fd(&mount), .point = member(entry, "point")};
    }
    return r;
}

int target_make_mounts(const struct restore *restore, struct target_mounts *mounts,
                       struct error *error)
{
    const json_t *memory = json_object_get(restore->plan.container, "memory");
    int r = fault_point("restore-memory", error);

    if (r == 0 && json_array_size(memory) > TARGET_MOUNTS_MAXIMUM)
        r = error_set(error, "snapshot-manifest", EINVAL, "Too many tmpfs mounts");
    for (size_t i = 0; r == 0 && i < json_array_size(memory); i++) {
        r = make_one(restore, json_array_get(memory, i), &mounts->list[mounts->count], error);
        mounts->count += r == 0;
    }
    return r;
}

void target_mounts_done(struct target_mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++)
        close_fd(&mounts->list[i].fd);
    mounts->count = 0;
}
