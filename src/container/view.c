/* SPDX-License-Identifier: Apache-2.0 */
#include "container/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/look-inside.h"
#include "proc/parse.h"
#include "proc/process.h"

static const char *const role_names[] = {
    [MOUNT_ROOT] = "root",       [MOUNT_KERNEL] = "kernel", [MOUNT_MASK] = "mask",
    [MOUNT_DEVICES] = "devices", [MOUNT_MEMORY] = "memory", [MOUNT_VOLUME] = "volume",
};

const char *mount_role_name(enum mount_role role)
{
    return role_names[role];
}

bool container_is_first(pid_t pid)
{
    struct process process = PROCESS_INIT;
    struct namespaces its, ours;
    bool first;

    if (process_read(pid, &process, NULL) < 0)
        return false;
    first = process.inner_pid == 1 && namespaces_read(pid, &its, NULL) == 0 &&
            namespaces_read(getpid(), &ours, NULL) == 0 &&
            its.inode[NAMESPACE_PID] != ours.inode[NAMESPACE_PID] &&
            its.inode[NAMESPACE_MOUNT] != ours.inode[NAMESPACE_MOUNT];
    process_done(&process);
    return first;
}

static bool is_kernel_type(const char *type)
{
    static const char *const types[] = {
        "proc",       "sysfs",   "cgroup",   "cgroup2", "devpts",  "mqueue",
        "securityfs", "debugfs", "bpf",      "tracefs", "fusectl", "binfmt_misc",
        "hugetlbfs",  "pstore",  "configfs", "nsfs",    "efivarfs"};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (text_equal(type, types[i]))
            return true;
    }
    return false;
}

static bool is_below(const char *path, const char *directory)
{
    return text_starts_with(path, directory) && path[strlen(directory)] == '/';
}

/* A file system that is mounted where we are, too, has come from there. */
static bool is_mounted_here(const struct mount_table *here, dev_t device)
{
    for (size_t i = 0; i < here->count; i++) {
        if (here->mounts[i].device == device)
            return true;
    }
    return false;
}

static enum mount_role role_of(const struct mount *mount, const struct mount_table *here)
{
    if (text_equal(mount->point, "/"))
        return MOUNT_ROOT;
    if (is_below(mount->point, "/proc") || is_below(mount->point, "/sys"))
        return MOUNT_MASK;
    if (is_kernel_type(mount->type))
        return MOUNT_KERNEL;
    /* Shared by the containers of a pod, and so from outside; but what is in it is state of
     * processes as much as their memory is. */
    if (text_equal(mount->point, "/dev/shm"))
        return MOUNT_MEMORY;
    if (text_equal(mount->point, "/dev") || is_below(mount->point, "/dev"))
        return MOUNT_DEVICES;
    if (text_equal(mount->type, "tmpfs") && text_equal(mount->root, "/") &&
        !is_mounted_here(here, mount->device))
        return MOUNT_MEMORY;
    return MOUNT_VOLUME;
}

static int read_mounts(struct container_view *view, struct error *error)
{
    struct mount_table here = MOUNT_TABLE_INIT;
    int r = mount_table_read_at(view->process, &view->mounts, error);

    if (r == 0)
        r = mount_table_read(getpid(), &here, error);
    if (r < 0)
        return r;
    view->roles = calloc(view->mounts.count + 1, sizeof *view->roles);
    for (size_t i = 0; view->roles && i < view->mounts.count; i++)
        view->roles[i] = role_of(&view->mounts.mounts[i], &here);
    mount_table_done(&here);
    return view->roles ? 0 : error_set(error, "out-of-memory", ENOMEM, "Can't list the mounts");
}

static int look_inside(struct container_view *view, struct error *error)
{
    int r = container_look_for_system_v(view->process, &view->system_v, error);

    if (r == 0)
        r = container_look_for_addresses(view->process, &view->addresses, error);
    return r;
}

static bool differs_from_ours(const struct container_view *view, enum namespace_kind kind)
{
    struct namespaces ours;

    return namespaces_read(getpid(), &ours, NULL) == 0 &&
           ours.inode[kind] != view->namespaces.inode[kind];
}

/* Lines of "inside outside length", as we count. */
static int read_map(int process, const char *name, struct id_map *ret_map, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct id_range *ranges;
    char *cursor;
    size_t count = 0;
    int r = file_read(process, name, 1 << 20, &text, NULL);

    if (r < 0)
        return error_set(error, "container-view", r, "Can't read the container's %s", name);
    ranges = calloc(strlen(text) / 6 + 1, sizeof *ranges);
    if (!ranges)
        return error_set(error, "out-of-memory", ENOMEM, "Can't read the container's %s", name);
    cursor = text;
    for (;;) {
        char *end = cursor;
        unsigned long long inside = strtoull(cursor, &end, 10), outside, length;

        if (end == cursor)
            break;
        outside = strtoull(end, &cursor, 10);
        length = strtoull(cursor, &end, 10);
        cursor = end;
        ranges[count++] = (struct id_range){
            .inside = (uint32_t)inside, .outside = (uint32_t)outside, .length = (uint32_t)length};
    }
    *ret_map = (struct id_map){.ranges = ranges, .count = count};
    return 0;
}

static int read_ids(struct container_view *view, struct error *error)
{
    int r;

    view->own_user_ids = differs_from_ours(view, NAMESPACE_USER);
    if (!view->own_user_ids)
        return 0;
    r = read_map(view->process, "uid_map", &view->ids.users, error);
    return r < 0 ? r : read_map(view->process, "gid_map", &view->ids.groups, error);
}

static int read_privileges(struct container_view *view, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    char *cursor, *line;
    int r = file_read(view->process, "status", 1 << 20, &text, NULL);

    if (r < 0)
        return error_set(error, "container-view", r, "Can't read the status of process %d",
                         (int)view->pid);
    cursor = text;
    while ((line = parse_line(&cursor))) {
        const char *value;

        if ((value = parse_value(line, "CapBnd")) || (value = parse_value(line, "CapPrm")))
            view->privileges.capabilities |= strtoull(value, NULL, 16);
        else if ((value = parse_value(line, "NoNewPrivs")))
            view->privileges.no_new = *value == '1';
        else if ((value = parse_value(line, "Seccomp")))
            view->privileges.filtered = *value != '0';
    }
    return 0;
}

int container_view_read(pid_t pid, struct container_view *ret_view, struct error *error)
{
    struct container_view view = CONTAINER_VIEW_INIT;
    int r = process_open(pid, &view.process, error);

    view.pid = pid;
    if (r == 0)
        r = namespaces_read_at(view.process, &view.namespaces, error);
    if (r == 0) {
        view.root = openat(view.process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (view.root < 0)
            r = error_set(error, "container-view", errno, "Can't open the root of process %d",
                          (int)pid);
    }
    if (r == 0)
        r = read_mounts(&view, error);
    if (r == 0)
        r = look_inside(&view, error);
    if (r == 0)
        r = read_ids(&view, error);
    if (r == 0)
        r = read_privileges(&view, error);
    if (r < 0) {
        container_view_done(&view);
        return r;
    }
    *ret_view = view;
    return 0;
}

void container_view_done(struct container_view *view)
{
    close_fd(&view->process);
    close_fd(&view->root);
    mount_table_done(&view->mounts);
    free(view->roles);
    free((void *)(uintptr_t)view->ids.users.ranges);
    free((void *)(uintptr_t)view->ids.groups.ranges);
    json_decref(view->addresses);
    *view = CONTAINER_VIEW_INIT;
}

bool container_root_is_read_only(const struct container_view *view)
{
    for (size_t i = 0; i < view->mounts.count; i++) {
        if (view->roles[i] == MOUNT_ROOT)
            return text_starts_with(view->mounts.mounts[i].options, "ro");
    }
    return false;
}

static int open_in_root(int root, const char *path)
{
    return file_open_in_root(root, path, O_RDONLY | O_DIRECTORY, 0);
}

int container_open_directory(const struct container_view *view, const char *path)
{
    return open_in_root(view->root, path);
}

void container_unlink(int root, const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(free_ptr) char *parent = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
    CLEANUP(close_fd) int directory = -1;

    if (!slash || !parent)
        return;
    directory = open_in_root(root, parent);
    if (directory >= 0)
        (void)unlinkat(directory, slash + 1, 0);
}

unsigned container_entered(const struct container_view *view)
{
    unsigned kinds = 1U << NAMESPACE_MOUNT | 1U << NAMESPACE_PID | 1U << NAMESPACE_NETWORK |
                     1U << NAMESPACE_UTS | 1U << NAMESPACE_CGROUP;

    /* CRIU saves what is in an IPC namespace only where it is not in it itself. */
    return view->system_v ? kinds : kinds | 1U << NAMESPACE_IPC;
}
