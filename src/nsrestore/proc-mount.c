/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The restored processes have a pid namespace of their own, below the target's, and so need a /proc
 * of their own. Runtimes hide or protect parts of /proc (masked and read-only paths); what they
 * did to the target's is done to the new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "nsrestore/place.h"
#include "proc/mounts.h"

enum { COVERS_MAXIMUM = 256 };

/* Something that is mounted below /proc. */
struct cover {
    const char *point; /* borrowed from the table */
    int mount;         /* a detached copy of it; -1: it is a part of /proc itself */
    uint64_t attributes;
};

static size_t find_covers(const struct mount_table *table, struct cover *covers)
{
    size_t count = 0;

    for (size_t i = 0; i < table->count && count < COVERS_MAXIMUM; i++) {
        const struct mount *mount = &table->mounts[i];
        struct cover *cover = &covers[count];

        if (!text_starts_with(mount->point, "/proc/"))
            continue;
        *cover = (struct cover){
            .point = mount->point, .mount = -1, .attributes = mount_attributes(mount->options)};
        if (!text_equal(mount->type, "proc"))
            cover->mount = (int)syscall(SYS_open_tree, AT_FDCWD, mount->point,
                                        OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);
        count++;
    }
    return count;
}

static int set_attributes(int mount, uint64_t attributes)
{
    struct mount_attr attribute = {.attr_set = attributes};

    return (int)syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attribute, sizeof attribute);
}

/* Options of the whole file system that runtimes set ("hidepid=2"). */
static void set_options(int context, const char *options)
{
    CLEANUP(free_ptr) char *words = text_copy(options ? options : "");
    char *rest = NULL;

    for (char *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(word, '=');

        if (!value)
            continue;
        *value++ = 0;
        (void)syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, word, value, 0);
    }
}

/* For the pid namespace of this process. */
static int make_proc(const struct mount *like)
{
    CLEANUP(close_fd) int context = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);

    if (context < 0)
        return -errno;
    set_options(context, like ? like->super_options : NULL);
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    return (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                        like ? mount_attributes(like->options) : 0);
}

/* A part of the new /proc, over itself and protected; or what hid a part of the old one. */
static int put_cover(const struct cover *cover)
{
    CLEANUP(close_fd)
    int part = cover->mount >= 0
                   ? cover->mount
                   : (int)syscall(SYS_open_tree, AT_FDCWD, cover->point,
                                  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);

    if (part < 0)
        return errno == ENOENT ? 0 : -errno;
    if (set_attributes(part, cover->attributes) < 0)
        return -errno;
    if (syscall(SYS_move_mount, part, "", AT_FDCWD, cover->point, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return errno == ENOENT ? 0 : -errno;
    return 0;
}

static const struct mount *find_proc(const struct mount_table *table)
{
    const struct mount *found = NULL;

    for (size_t i = 0; i < table->count; i++) {
        if (text_equal(table->mounts[i].point, "/proc"))
            found = &table->mounts[i];
    }
    return found;
}

/* A process of the new pid namespace. */
static int mount_as_member(const struct mount_table *table)
{
    struct cover covers[COVERS_MAXIMUM];
    size_t count = find_covers(table, covers);
    CLEANUP(close_fd) int proc = make_proc(find_proc(table));
    int r = 0;

    if (proc < 0)
        return proc;
    if (syscall(SYS_move_mount, proc, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -errno;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = put_cover(&covers[i]);
    return r;
}

static int wait_for(pid_t pid)
{
    int status = 0;

    if (pid < 0)
        return -EAGAIN;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

/* setns(2) into a pid namespace counts for children only: so a child does it for its child. */
_Noreturn static void mount_from(int space, const struct mount_table *table)
{
    pid_t member;

    if (setns(space, CLONE_NEWPID) < 0)
        _exit(errno);
    member = fork();
    if (member == 0)
        _exit(-mount_as_member(table) & 0xff);
    _exit(-wait_for(member) & 0xff);
}

static int read_mounts(const struct place *place, struct mount_table *ret_table,
                       struct error *error)
{
    CLEANUP(close_fd)
    int self = openat(place->proc, "self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (self < 0)
        return error_set(error, "system", errno, "Can't open the host's /proc/self");
    return mount_table_read_at(self, ret_table, error);
}

int place_mount_proc(const struct place *place, pid_t first, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("%d/ns/pid", (int)first);
    CLEANUP(close_fd) int space = openat(place->proc, path, O_RDONLY | O_CLOEXEC);
    struct mount_table table = MOUNT_TABLE_INIT;
    pid_t child;
    int r;

    if (space < 0)
        return error_set(error, "process-gone", errno, "There is no process %d", (int)first);
    r = read_mounts(place, &table, error);
    if (r < 0)
        return r;
    child = fork();
    if (child == 0)
        mount_from(space, &table);
    r = wait_for(child);
    mount_table_done(&table);
    return r == 0 ? 0 : error_set(error, "mount-proc", r, "Can't mount a /proc in the target");
}
