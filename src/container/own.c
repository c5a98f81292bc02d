/* SPDX-License-Identifier: Apache-2.0 */
#include "container/own.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "basic/file.h"
#include "proc/namespaces.h"
#include "proc/process.h"

/* PROC_PID_INIT_INO of the kernel: the pid namespace that the machine was started with. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCU

bool own_container_is_first(pid_t pid)
{
    struct process process = PROCESS_INIT;
    struct namespaces its, ours;
    bool first;

    if (pid != OWN_CONTAINER_FIRST || process_read(pid, &process, NULL) < 0)
        return false;
    first = process.inner_pid == OWN_CONTAINER_FIRST && namespaces_read(pid, &its, NULL) == 0 &&
            namespaces_read(getpid(), &ours, NULL) == 0 &&
            its.inode[NAMESPACE_PID] == ours.inode[NAMESPACE_PID] &&
            its.inode[NAMESPACE_PID] != FIRST_PID_NAMESPACE &&
            its.inode[NAMESPACE_MOUNT] != ours.inode[NAMESPACE_MOUNT];
    process_done(&process);
    return first;
}

int own_container_prepare(const char *scratch, struct error *error)
{
    int r;

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return error_set(error, "own-privileges", errno, "Can't make a mount namespace");
    if (!own_container_is_first(OWN_CONTAINER_FIRST))
        return error_set(error, "target-unfit", EINVAL,
                         "This program runs in no container, or sees no first process of it");
    r = directory_create_all(scratch, 0700);
    if (r < 0)
        return error_set(error, "system", r, "Can't make %s", scratch);
    if (mount("stasis", scratch, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
        return error_set(error, "own-privileges", errno, "Can't mount on %s", scratch);
    return 0;
}
