/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "basic/cleanup.h"
#include "proc/process.h"

/* Linux 6.11 and newer; older headers lack it. */
#ifndef NS_GET_TGID_FROM_PIDNS
#define NS_GET_TGID_FROM_PIDNS _IOR(0xb7, 0x7, int)
#endif

static const char *const names[NAMESPACE_KINDS] = {
    [NAMESPACE_MOUNT] = "mnt", [NAMESPACE_NETWORK] = "net",
    [NAMESPACE_PID] = "pid",   [NAMESPACE_PID_FOR_CHILDREN] = "pid_for_children",
    [NAMESPACE_USER] = "user", [NAMESPACE_IPC] = "ipc",
    [NAMESPACE_UTS] = "uts",   [NAMESPACE_CGROUP] = "cgroup",
    [NAMESPACE_TIME] = "time", [NAMESPACE_TIME_FOR_CHILDREN] = "time_for_children",
};

const char *namespace_name(enum namespace_kind kind)
{
    return names[kind];
}

int namespaces_read_at(int directory, struct namespaces *ret, struct error *error)
{
    struct namespaces namespaces = {0};
    int denied = 0;

    for (int kind = 0; kind < NAMESPACE_KINDS; kind++) {
        char path[32];
        struct stat st;

        (void)snprintf(path, sizeof path, "ns/%s", names[kind]);
        if (fstatat(directory, path, &st, 0) == 0)
            namespaces.inode[kind] = st.st_ino;
        else if (errno == ESRCH || errno == EACCES || errno == EPERM)
            denied = errno;
    }
    /* Of a zombie, all but the user and cgroup namespaces are gone: that is not a failure. */
    if (denied && namespaces.inode[NAMESPACE_USER] == 0)
        return process_error(error, denied, 0, "its namespaces");
    *ret = namespaces;
    return 0;
}

int namespaces_read(pid_t pid, struct namespaces *ret, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    int r = process_open(pid, &directory, error);

    if (r == 0)
        r = namespaces_read_at(directory, ret, error);
    return r < 0 ? error_wrap(error, r, "process %d", (int)pid) : 0;
}

unsigned namespaces_difference(const struct namespaces *a, const struct namespaces *b)
{
    unsigned difference = 0;

    for (int kind = 0; kind < NAMESPACE_KINDS; kind++) {
        if (a->inode[kind] != b->inode[kind])
            difference |= 1U << kind;
    }
    return difference;
}

int namespace_open(int directory, enum namespace_kind kind, int *ret_fd, struct error *error)
{
    char path[32];
    int fd;

    (void)snprintf(path, sizeof path, "ns/%s", names[kind]);
    fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return process_error(error, errno, 0, path);
    *ret_fd = fd;
    return 0;
}

/* Whether the pid namespace of `directory`, taken `levels` parents up, is the one with `inode`. */
static bool ancestor_is(int directory, unsigned levels, uint64_t inode)
{
    CLEANUP(close_fd) int fd = -1;
    struct stat st;

    if (namespace_open(directory, NAMESPACE_PID, &fd, NULL) < 0)
        return false;
    while (levels-- > 0) {
        int parent = ioctl(fd, NS_GET_PARENT);

        if (parent < 0)
            return false;
        (void)fcntl(parent, F_SETFD, FD_CLOEXEC);
        (void)close(fd);
        fd = parent;
    }
    return fstat(fd, &st) == 0 && st.st_ino == inode;
}

/* The id of `pid` in the pid namespace that lies `depth` deep and has `inode`; 0: none. */
static pid_t pid_at(pid_t pid, unsigned depth, uint64_t inode)
{
    CLEANUP(close_fd) int directory = -1;
    struct process process = PROCESS_INIT;
    pid_t inner = 0;

    if (process_open(pid, &directory, NULL) < 0 || process_read_at(directory, &process, NULL) < 0)
        return 0;
    if (process.pid_depth >= depth && ancestor_is(directory, process.pid_depth - depth, inode))
        inner = process.level_pids[depth - 1];
    process_done(&process);
    return inner;
}

struct pid_level {
    unsigned depth;
    uint64_t inode;
    int fd; /* of the pid namespace */
};

static int read_level(pid_t member, struct pid_level *ret, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    struct process process = PROCESS_INIT;
    struct pid_level level = {.fd = -1};
    struct stat st;
    int r = process_open(member, &directory, error);

    if (r == 0)
        r = process_read_at(directory, &process, error);
    if (r < 0)
        return r;
    level.depth = process.pid_depth;
    process_done(&process);
    r = namespace_open(directory, NAMESPACE_PID, &level.fd, error);
    if (r < 0)
        return r;
    if (fstat(level.fd, &st) < 0) {
        r = process_error(error, errno, member, "its pid namespace");
        close_fd(&level.fd);
        return r;
    }
    level.inode = st.st_ino;
    *ret = level;
    return 0;
}

static int find_by_scan(const struct pid_level *level, pid_t inner, pid_t *ret_pid)
{
    CLEANUP(free_ptr) pid_t *pids = NULL;
    size_t count;
    int r = process_list(&pids, &count, NULL);

    for (size_t i = 0; r == 0 && i < count; i++) {
        if (pid_at(pids[i], level->depth, level->inode) == inner) {
            *ret_pid = pids[i];
            return 0;
        }
    }
    return -ESRCH;
}

int namespace_pid_to_outer(pid_t member, pid_t inner, pid_t *ret_pid, struct error *error)
{
    struct pid_level level = {.fd = -1};
    int r = read_level(member, &level, error), pid;

    if (r < 0)
        return r;
    pid = inner > 0 ? ioctl(level.fd, NS_GET_TGID_FROM_PIDNS, inner) : -1;
    if (pid > 0)
        *ret_pid = pid;
    else if (inner <= 0 || (errno != ENOTTY && errno != EINVAL))
        r = -ESRCH;
    else
        r = find_by_scan(&level, inner, ret_pid);
    close_fd(&level.fd);
    if (r < 0)
        return error_set(error, "process-gone", ESRCH, "process %d of the pid namespace of %d",
                         (int)inner, (int)member);
    return 0;
}

int namespace_pid_to_inner(pid_t member, pid_t pid, pid_t *ret_inner, struct error *error)
{
    struct pid_level level = {.fd = -1};
    int r = read_level(member, &level, error);
    pid_t inner;

    if (r < 0)
        return r;
    inner = pid_at(pid, level.depth, level.inode);
    close_fd(&level.fd);
    if (inner == 0)
        return error_set(error, "process-gone", ESRCH, "process %d, seen from process %d", (int)pid,
                         (int)member);
    *ret_inner = inner;
    return 0;
}
