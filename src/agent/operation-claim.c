/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the snapshots of an operation are. With storage of the agent: its own volume. With storage
 * of the pod: a volume of the container, of which this process makes a mount of its own, so that
 * the end of the container doesn't take it away. Nobody else sees that mount.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/operation.h"
#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/view.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif

static int refuse(const struct operation *operation, struct error *error, int number,
                  const char *what)
{
    return error_set(error, "pod-storage", number, "The volume at '%s' of container '%s' %s",
                     operation->order->claim_path, operation->order->container, what);
}

/* It has to be a mount, of a volume: not a directory of the image, not one that the container has
 * mounted over something else. */
static int check_volume(const struct operation *operation, const struct container_view *view,
                        struct error *error)
{
    for (size_t i = view->mounts.count; i-- > 0;) {
        if (!text_equal(view->mounts.mounts[i].point, operation->order->claim_path))
            continue;
        if (view->roles[i] == MOUNT_VOLUME)
            return 0;
        break;
    }
    return refuse(operation, error, EINVAL, "is no volume in the running container");
}

/* Only who is in a mount namespace may clone its mounts. */
static int clone_inside(int mounts, const char *path)
{
    CLEANUP(close_fd) int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    int tree;

    if (own < 0 || setns(mounts, CLONE_NEWNS) < 0)
        return -errno;
    tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC);
    if (tree < 0)
        tree = -errno;
    if (setns(own, CLONE_NEWNS) < 0)
        _exit(1); /* nothing may go on in the wrong namespace */
    return tree;
}

static int attach(int tree, const char *place)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -errno;
    if (mkdir(place, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -errno;
    return 0;
}

static int open_claim(struct operation *operation, const struct container_view *view,
                      struct error *error)
{
    CLEANUP(close_fd) int mounts = -1;
    CLEANUP(close_fd) int tree = -1;
    CLEANUP(free_ptr) char *claims = text_format("%s/claims", operation->settings->state_directory);
    int r = check_volume(operation, view, error);

    if (r == 0)
        r = namespace_open(view->process, NAMESPACE_MOUNT, &mounts, error);
    if (r < 0)
        return r;
    tree = clone_inside(mounts, operation->order->claim_path);
    if (tree < 0)
        return refuse(operation, error, tree, "could not be reached");
    r = directory_create_all(claims, 0700);
    if (r == 0) {
        operation->claim = text_format("%s/%s", claims, operation->order->key);
        r = attach(tree, operation->claim);
    }
    if (r < 0)
        return refuse(operation, error, r, "could not be mounted for the agent");
    operation->base = text_copy(operation->claim);
    return 0;
}

int operation_open_base(struct operation *operation, struct error *error)
{
    struct container_view view = CONTAINER_VIEW_INIT;
    int r;

    if (!operation->order->claim_path) {
        operation->base = text_copy(operation->settings->base_path);
        return 0;
    }
    r = container_view_read(operation->container.pid, &view, error);
    if (r == 0)
        r = open_claim(operation, &view, error);
    container_view_done(&view);
    return r;
}

void operation_close_base(struct operation *operation)
{
    if (!operation->claim)
        return;
    (void)umount2(operation->claim, MNT_DETACH);
    (void)rmdir(operation->claim);
    free(STEAL_PTR(operation->claim));
}
