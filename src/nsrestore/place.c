/* SPDX-License-Identifier: Apache-2.0 */
#include "nsrestore/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/ending.h"

/* A move of this very process: "0" stands for the writer. */
static int join_cgroups(const struct plan *plan, struct error *error)
{
    for (size_t i = 0; i < plan->cgroup_count; i++) {
        if (write(plan->cgroups[i], "0", 1) != 1)
            return error_set(error, "cgroup-join", errno,
                             "Can't join a control group of the target");
    }
    return 0;
}

/* All are opened before the first is entered: what is entered may hide the others. */
static int enter_namespaces(const struct plan *plan, struct error *error)
{
    int fds[16], r = 0;

    for (size_t i = 0; i < plan->namespace_count; i++) {
        CLEANUP(free_ptr) char *path = text_format("ns/%s", plan->namespaces[i]);

        fds[i] = openat(plan->process, path, O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0)
            r = error_set(error, "target-gone", errno, "Can't open the target's %s namespace",
                          plan->namespaces[i]);
    }
    for (size_t i = 0; i < plan->namespace_count; i++) {
        if (r == 0 && setns(fds[i], 0) < 0)
            r = error_set(error, "namespace-enter", errno, "Can't enter the target's %s namespace",
                          plan->namespaces[i]);
        close_fd(&fds[i]);
    }
    return r;
}

static int attach_mounts(const struct plan *plan, struct error *error)
{
    for (size_t i = 0; i < plan->mount_count; i++) {
        if (syscall(SYS_move_mount, plan->mounts[i].fd, "", AT_FDCWD, plan->mounts[i].point,
                    MOVE_MOUNT_F_EMPTY_PATH) < 0)
            return error_set(error, "mount-attach", errno, "Can't mount on %s",
                             plan->mounts[i].point);
    }
    return 0;
}

/* Mounts that the target gains later still arrive; ours stay ours. */
static int make_mount_namespace(struct place *place, struct error *error)
{
    struct stat st;

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return error_set(error, "namespace-enter", errno, "Can't make a mount namespace");
    place->mounts = openat(place->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (place->mounts < 0 || fstat(place->mounts, &st) < 0)
        return error_set(error, "namespace-enter", errno, "Can't open the new mount namespace");
    place->mount_inode = (uint64_t)st.st_ino;
    return 0;
}

int place_enter(const struct plan *plan, struct place *place, struct error *error)
{
    int r;

    place->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    place->host_mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (place->proc < 0 || place->host_mounts < 0)
        return error_set(error, "system", errno, "Can't open /proc");
    r = join_cgroups(plan, error);
    if (r == 0)
        r = enter_namespaces(plan, error);
    if (r == 0)
        r = make_mount_namespace(place, error);
    if (r == 0)
        r = attach_mounts(plan, error);
    return r;
}

unsigned place_end_all(const struct place *place, pid_t spared)
{
    return place->mounts < 0 ? 0 : processes_end_in(place->proc, place->mount_inode, spared);
}
