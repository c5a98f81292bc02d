/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a restored copy is now: its memory says what held for the source. The target's environment
 * (new secrets, new settings), host name and addresses, and a number that no other copy has, are
 * given to it as files in TARGET_IDENTITY_PLACE (docs/containers.md), which only the restored
 * processes see.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/look-inside.h"
#include "container/rootfs-ids.h"
#include "restore/target.h"

enum { ENVIRONMENT_MAXIMUM = 8 << 20 };

static json_t *describe(const struct restore *restore)
{
    CLEANUP(free_ptr) char *host = NULL;
    CLEANUP(free_ptr)
    char *snapshot =
        text_format("%s@%s", snapshot_id(restore->snapshot), snapshot_version(restore->snapshot));
    uint64_t random[2] = {0};
    char generation[33], now[32];
    time_t seconds = time(NULL);
    struct tm parts;

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return NULL;
    (void)snprintf(generation, sizeof generation, "%016" PRIx64 "%016" PRIx64, random[0],
                   random[1]);
    (void)strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
    (void)container_look_for_host_name(restore->target.process, &host, NULL);
    return json_pack("{si ss ss ss ss* sO}", "format", 1, "generation", generation, "snapshot",
                     snapshot, "restored", now, "host_name", host, "addresses",
                     restore->target.addresses);
}

/* Readable for whom the target's own first process is; the environment may hold secrets. */
static int write_file(int directory, const char *name, const char *data, size_t length,
                      const struct stat *owner)
{
    CLEANUP(close_fd)
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0440);
    int r = fd < 0 ? -errno : file_write_all(fd, data, length);

    if (r == 0 && fchown(fd, owner->st_uid, owner->st_gid) < 0)
        r = -errno;
    return r;
}

static int write_files(const struct restore *restore, int directory)
{
    CLEANUP(free_ptr) char *environment = NULL, *text = NULL;
    size_t length = 0;
    struct stat owner;
    json_t *identity;
    int r =
        file_read(restore->target.process, "environ", ENVIRONMENT_MAXIMUM, &environment, &length);

    if (r == 0 && fstat(restore->target.process, &owner) < 0)
        r = -errno;
    if (r < 0)
        return r;
    identity = describe(restore);
    text = identity ? json_dumps(identity, JSON_INDENT(2)) : NULL;
    json_decref(identity);
    r = text ? write_file(directory, "identity.json", text, strlen(text), &owner) : -ENOMEM;
    return r < 0 ? r : write_file(directory, "environment", environment, length, &owner);
}

/* A small tmpfs; read-only once it is filled. */
static int make_file_system(const struct restore *restore)
{
    CLEANUP(close_fd) int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    struct mount_attr attribute = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                               MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
    CLEANUP(close_fd) int mount = -1, directory = -1;
    int r;

    if (context < 0)
        return -errno;
    (void)syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", "stasis", 0);
    (void)syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "size", "16m", 0);
    (void)syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "mode", "0755", 0);
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    if (mount >= 0)
        directory = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return -errno;
    r = write_files(restore, directory);
    if (r == 0 &&
        syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attribute, sizeof attribute) < 0)
        r = -errno;
    return r < 0 ? r : steal_fd(&mount);
}

/* A file system of a user namespace takes files of its own users only. */
static int make_directory_as_root_of(const struct container_view *target, int parent,
                                     const char *name)
{
    uint32_t user = 0, group = 0;
    int r;

    if (target->own_user_ids && (!id_to_outside(&target->ids.users, 0, &user) ||
                                 !id_to_outside(&target->ids.groups, 0, &group)))
        return -EOVERFLOW;
    (void)setfsgid(group);
    (void)setfsuid(user);
    r = mkdirat(parent, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
    (void)setfsuid(0);
    (void)setfsgid(0);
    return r;
}

/* The target's /dev is a file system in memory of its own, whatever its image is like. */
static int make_place(const struct restore *restore)
{
    CLEANUP(close_fd) int devices = container_open_directory(&restore->target, "/dev");

    return devices < 0 ? devices
                       : make_directory_as_root_of(&restore->target, devices, TARGET_IDENTITY_NAME);
}

int target_make_identity(const struct restore *restore, struct target_mounts *mounts,
                         struct error *error)
{
    int mount = make_place(restore);

    if (mount == 0)
        mount = make_file_system(restore);
    if (mount < 0)
        return error_set(error, "identity", mount, "Can't make " TARGET_IDENTITY_PLACE);
    mounts->list[mounts->count++] =
        (struct target_mount){.fd = mount, .point = TARGET_IDENTITY_PLACE};
    return 0;
}
