/* SPDX-License-Identifier: Apache-2.0 */
/* State that CRIU saves without a word and then restores as something else. */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"
#include "proc/parse.h"
#include "workload/attributes.h"

/* ---- sharing between processes, found by the order that kcmp(2) gives to kernel objects ---- */

static int compare_by(const void *a, const void *b, int type)
{
    pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;
    long order = left == right ? 0 : syscall(SYS_kcmp, left, right, type, 0, 0);

    if (order == 0 && left != right)
        return (left > right) - (left < right);
    return order == 1 ? -1 : 1;
}

static int compare_memory(const void *a, const void *b)
{
    return compare_by(a, b, KCMP_VM);
}

static int compare_directory(const void *a, const void *b)
{
    return compare_by(a, b, KCMP_FS);
}

/* A parent in vfork() shares its memory with the child: check_processes tells that. */
static bool waits_in_vfork(const struct inspection *inspection, pid_t pid, pid_t child)
{
    const struct process *parent = process_tree_find(&inspection->tree, pid);
    const struct process *other = process_tree_find(&inspection->tree, child);

    return parent->state == 'D' && other->ppid == pid;
}

static void check_sharing(struct inspection *inspection, int type, const char *code,
                          const char *what)
{
    CLEANUP(free_ptr) pid_t *pids = allocate(inspection->count * sizeof *pids);

    for (size_t i = 0; i < inspection->count; i++)
        pids[i] = inspection->processes[i].process->pid;
    qsort(pids, inspection->count, sizeof *pids,
          type == KCMP_VM ? compare_memory : compare_directory);
    for (size_t i = 1; i < inspection->count; i++) {
        if (waits_in_vfork(inspection, pids[i], pids[i - 1]) ||
            waits_in_vfork(inspection, pids[i - 1], pids[i]))
            continue;
        if (syscall(SYS_kcmp, pids[i - 1], pids[i], type, 0, 0) == 0)
            finding_add(inspection, code, PREFLIGHT_REFUSE,
                        process_tree_find(&inspection->tree, pids[i]), NULL,
                        "it shares %s with process %d", what, (int)pids[i - 1]);
    }
}

/* ---- what fdinfo tells ---- */

static void check_eventfd(struct inspection *inspection, const struct inspected *inspected, int fd)
{
    CLEANUP(free_ptr) char *info = NULL;
    char path[32], *cursor, *line;

    (void)snprintf(path, sizeof path, "fdinfo/%d", fd);
    if (file_read(inspected->directory, path, 1 << 20, &info, NULL) < 0)
        return;
    cursor = info;
    while ((line = parse_line(&cursor))) {
        const char *value = parse_value(line, "eventfd-semaphore");

        if (value && parse_leading_number(value) == 1)
            finding_add(inspection, "eventfd-semaphore", PREFLIGHT_REFUSE, inspected->process, NULL,
                        "descriptor %d is an eventfd that counts like a semaphore", fd);
    }
}

/* ---- queued messages ---- */

static int open_process(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Whether messages wait in a unix socket that tells the ids of their sender. The socket is
 * borrowed for the question (pidfd_getfd(2)), nothing is read from it. */
static bool has_credentials_waiting(pid_t pid, int fd)
{
    CLEANUP(close_fd) int process = open_process(pid);
    CLEANUP(close_fd) int copy = -1;
    int on = 0, waiting = 0;
    socklen_t length = sizeof on;

    if (process < 0)
        return false;
    copy = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
    return copy >= 0 && getsockopt(copy, SOL_SOCKET, SO_PASSCRED, &on, &length) == 0 && on &&
           ioctl(copy, SIOCINQ, &waiting) == 0 && waiting > 0;
}

static void check_waiting_clients(struct inspection *inspection, const struct inspected *inspected,
                                  int fd, const struct socket_entry *listener)
{
    for (size_t i = 0; i < listener->pending_count; i++) {
        const struct socket_entry *client =
            socket_table_find(&inspection->sockets, listener->pending[i]);

        if (client && client->send_queue > 0) {
            finding_add(inspection, "unix-backlog-data", PREFLIGHT_REFUSE, inspected->process, NULL,
                        "descriptor %d listens on %s, where a client waits that has sent "
                        "data already",
                        fd, listener->name ? listener->name : "(no name)");
            return;
        }
    }
}

static void check_unix(struct inspection *inspection, const struct inspected *inspected,
                       const struct descriptor *descriptor)
{
    const struct socket_entry *entry = socket_table_find(&inspection->sockets, descriptor->inode);

    if (!entry || entry->family != AF_UNIX)
        return;
    if (entry->state == SOCKET_LISTENING)
        check_waiting_clients(inspection, inspected, descriptor->fd, entry);
    else if (has_credentials_waiting(inspected->process->pid, descriptor->fd))
        finding_add(inspection, "unix-credentials", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "descriptor %d is a unix socket in which messages wait together with the ids "
                    "of their sender",
                    descriptor->fd);
}

/* ---- */

static void check_descriptor(struct inspection *inspection, const struct inspected *inspected,
                             const struct descriptor *descriptor)
{
    switch (descriptor->kind) {
    case DESCRIPTOR_PIPE:
        if (descriptor->flags & O_DIRECT)
            finding_add(inspection, "pipe-packets", PREFLIGHT_REFUSE, inspected->process, NULL,
                        "descriptor %d is a pipe in packet mode", descriptor->fd);
        break;
    case DESCRIPTOR_EVENTFD:
        check_eventfd(inspection, inspected, descriptor->fd);
        break;
    case DESCRIPTOR_SOCKET:
        check_unix(inspection, inspected, descriptor);
        break;
    default:
        break;
    }
}

/* Every process inherits the domain of the CRIU that restores it, so all must have the same; the
 * root process that `run` adds (outside of the question) has none of its own. */
static void check_personality(struct inspection *inspection)
{
    size_t first = inspection->request->entered && inspection->count > 1 ? 1 : 0;
    CLEANUP(free_ptr) pid_t *pids = allocate((inspection->count + 1) * sizeof *pids);
    bool any = false;

    for (size_t i = first; i < inspection->count; i++) {
        pids[i - first] = inspection->processes[i].process->pid;
        any |= attributes_has_personality(pids[i - first]);
    }
    if (any && attributes_personality(pids, inspection->count - first) == 0)
        finding_add(inspection, "personality", PREFLIGHT_REFUSE, NULL, NULL,
                    "processes run in execution domains that differ, or that change how memory "
                    "is mapped");
}

void check_silent(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->count; i++) {
        const struct inspected *inspected = &inspection->processes[i];

        for (size_t j = 0; j < inspected->descriptors.count; j++)
            check_descriptor(inspection, inspected, &inspected->descriptors.descriptors[j]);
    }
    check_personality(inspection);
    check_sharing(inspection, KCMP_VM, "shared-memory-space", "its whole memory");
    check_sharing(inspection, KCMP_FS, "shared-directory",
                  "its current directory, root directory and file mode mask");
}
