/* SPDX-License-Identifier: Apache-2.0 */
/* What the processes themselves are doing: traced, stuck, half ended, not ours to touch. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"
#include "proc/ending.h"

enum { VFORK_LOOKS = 20, VFORK_STEP_MSEC = 10 };

static bool has_capability(const struct process *process, unsigned capability)
{
    return process->capabilities & (UINT64_C(1) << capability);
}

static void check_yama(struct inspection *inspection)
{
    CLEANUP(free_ptr) char *scope = NULL;

    if (file_read(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", 64, &scope, NULL) < 0)
        return;
    if (text_starts_with(scope, "3"))
        finding_add(inspection, "ptrace-forbidden", PREFLIGHT_REFUSE, NULL, NULL,
                    "kernel.yama.ptrace_scope is 3: nobody may attach to a process until the "
                    "machine is started anew");
}

static void check_label(struct inspection *inspection)
{
    const struct inspected *root = &inspection->processes[0];
    CLEANUP(free_ptr) char *label = NULL;
    size_t colons = 0;

    if (access("/sys/fs/selinux/enforce", F_OK) < 0 ||
        file_read(root->directory, "attr/current", 4096, &label, NULL) < 0)
        return;
    for (const char *c = label; *c; c++)
        colons += *c == ':';
    if (colons < 3)
        finding_add(inspection, "security-label", PREFLIGHT_WARN, root->process, NULL,
                    "its SELinux context \"%s\" has no level part, which CRIU expects", label);
}

/* The dynamic loader would load it into CRIU, when CRIU works inside that root directory. */
static void check_preload(struct inspection *inspection)
{
    const struct inspected *root = &inspection->processes[0];
    struct stat st;

    if ((inspection->request->entered & (1U << NAMESPACE_MOUNT)) &&
        fstatat(root->directory, "root/etc/ld.so.preload", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_size > 0)
        finding_add(inspection, "preload-file", PREFLIGHT_WARN, root->process, NULL,
                    "its root directory has a file /etc/ld.so.preload");
}

void check_machine(struct inspection *inspection)
{
    struct process self = PROCESS_INIT;

    if (process_read(getpid(), &self, NULL) == 0) {
        if (!has_capability(&self, CAP_SYS_PTRACE))
            finding_add(inspection, "ptrace-forbidden", PREFLIGHT_REFUSE, NULL, NULL,
                        "this program lacks the capability CAP_SYS_PTRACE");
        if (!has_capability(&self, CAP_SYS_ADMIN) && !has_capability(&self, 40))
            finding_add(inspection, "ptrace-forbidden", PREFLIGHT_REFUSE, NULL, NULL,
                        "this program lacks the capabilities CAP_SYS_ADMIN and "
                        "CAP_CHECKPOINT_RESTORE");
    }
    process_done(&self);
    check_yama(inspection);
    check_label(inspection);
    check_preload(inspection);
    if (process_tree_find(&inspection->tree, getpid()))
        finding_add(inspection, "self-in-tree", PREFLIGHT_REFUSE, NULL, NULL,
                    "this program is itself part of the tree below process %d",
                    (int)inspection->request->root);
    if (!inspection->tree.settled)
        finding_add(inspection, "tree-unsettled", PREFLIGHT_WARN, NULL, NULL,
                    "processes of the tree begin and end all the time");
}

/* kcmp(2): whether the two share `type`; false when that can't be told. */
static bool shares(pid_t a, pid_t b, int type)
{
    return syscall(SYS_kcmp, a, b, type, 0, 0) == 0;
}

static const struct process *vfork_child(const struct inspection *inspection,
                                         const struct process *parent)
{
    for (size_t i = 0; i < inspection->tree.count; i++) {
        const struct process *child = &inspection->tree.processes[i];

        if (child->ppid == parent->pid && shares(parent->pid, child->pid, KCMP_VM))
            return child;
    }
    return NULL;
}

/* Programs are often started in this way, and it is over in a moment. */
static const struct process *patient_vfork_child(const struct inspection *inspection,
                                                 const struct process *parent, bool *ret_over)
{
    const struct process *child = vfork_child(inspection, parent);

    for (int i = 0; child && i < VFORK_LOOKS; i++) {
        clock_sleep_msec(VFORK_STEP_MSEC);
        child = vfork_child(inspection, parent);
        *ret_over = !child;
    }
    return child;
}

static void check_uninterruptible(struct inspection *inspection, const struct process *process)
{
    bool over = false;
    const struct process *child = patient_vfork_child(inspection, process, &over);

    if (over)
        return;
    if (child)
        finding_add(inspection, "vfork-parent", PREFLIGHT_REFUSE, process, NULL,
                    "it waits in vfork() for process %d (%s) and can't be stopped", (int)child->pid,
                    child->comm);
    else
        finding_add(inspection, "uninterruptible", PREFLIGHT_WARN, process, NULL,
                    "it waits in the kernel where it can't be stopped (state D)");
}

static void check_tracer(struct inspection *inspection, const struct process *process)
{
    CLEANUP(free_ptr) char *tracer = NULL;

    if (process->tracer == 0)
        return;
    tracer = process_text(process->tracer);
    finding_add(inspection, "traced", PREFLIGHT_REFUSE, process, NULL, "process %s traces it",
                tracer);
}

static bool leader_in_tree(const struct inspection *inspection, const struct process *process)
{
    for (size_t i = 0; i < inspection->tree.count; i++) {
        if (inspection->tree.processes[i].inner_pid == process->inner_sid)
            return true;
    }
    return false;
}

static void check_terminal_session(struct inspection *inspection, const struct process *process)
{
    if (process->terminal && process->inner_sid > 0 && !leader_in_tree(inspection, process))
        finding_add(inspection, "terminal-job", PREFLIGHT_REFUSE, process, NULL,
                    "its controlling terminal belongs to the session of process %d (inner id), "
                    "outside of the tree",
                    (int)process->inner_sid);
}

/* prlimit(2) on a process of another user needs the capability. */
static void check_other_user(struct inspection *inspection, const struct process *process)
{
    struct process self = PROCESS_INIT;

    if (inspection->request->contained || process->uid == 0 || process->state == 'Z' ||
        process_read(getpid(), &self, NULL) < 0)
        return;
    if (!(self.capabilities & UINT64_C(1) << CAP_SYS_RESOURCE))
        finding_add(inspection, "resource-capability", PREFLIGHT_REFUSE, process, NULL,
                    "it runs as user %u, and this program lacks CAP_SYS_RESOURCE",
                    (unsigned)process->uid);
    process_done(&self);
}

static void check_process(struct inspection *inspection, const struct process *process)
{
    if (process->state == 'Z' || process->state == 'X') {
        if (process->threads > 1)
            finding_add(inspection, "thread-leader-ended", PREFLIGHT_REFUSE, process, NULL,
                        "its main thread has ended and %u others run on", process->threads - 1);
        return;
    }
    check_tracer(inspection, process);
    if (process->state == 'D')
        check_uninterruptible(inspection, process);
    if (process->state == 'T')
        finding_add(inspection, "stopped", PREFLIGHT_NOTE, process, NULL,
                    "it is stopped (by a signal) and will be stopped after a restore");
    /* In a namespace below the root's that is told as such. */
    if (process->inner_sid == 0 && process->pid_depth == inspection->tree.processes[0].pid_depth)
        finding_add(inspection, "session-outside", PREFLIGHT_REFUSE, process, NULL,
                    "the leader of its session is outside of its pid namespace");
    check_terminal_session(inspection, process);
    check_other_user(inspection, process);
}

/* It would find the signal after a restore, and end. */
static void check_orders(struct inspection *inspection)
{
    const struct process *main = process_tree_find(&inspection->tree, inspection->request->main);
    const char *order;

    if (!main)
        main = &inspection->tree.processes[0];
    order = signal_that_ends(main->pending);
    if (order)
        finding_add(inspection, "workload-ending", PREFLIGHT_REFUSE, main, NULL,
                    "it was sent %s, which waits for it", order);
}

static void check_root(struct inspection *inspection)
{
    const struct process *root = &inspection->tree.processes[0];

    if (root->inner_sid != 0 && root->inner_sid != root->inner_pid)
        finding_add(inspection, "root-not-session-leader", PREFLIGHT_NOTE, root, NULL,
                    "it belongs to the session of process %d (inner id), outside of the tree",
                    (int)root->inner_sid);
}

void check_processes(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->tree.count; i++)
        check_process(inspection, &inspection->tree.processes[i]);
    check_orders(inspection);
    check_root(inspection);
}

static const enum namespace_kind thread_kinds[] = {
    NAMESPACE_MOUNT, NAMESPACE_NETWORK, NAMESPACE_IPC, NAMESPACE_UTS, NAMESPACE_CGROUP,
};

/* The names of the namespaces that a thread does not share with its process; NULL: none. */
static const char *private_namespace(const struct inspected *inspected, pid_t thread)
{
    for (size_t i = 0; i < sizeof thread_kinds / sizeof thread_kinds[0]; i++) {
        const char *name = namespace_name(thread_kinds[i]);
        char path[64];
        struct stat st;

        (void)snprintf(path, sizeof path, "task/%d/ns/%s", (int)thread, name);
        if (fstatat(inspected->directory, path, &st, 0) == 0 &&
            inspected->namespaces.inode[thread_kinds[i]] != 0 &&
            st.st_ino != inspected->namespaces.inode[thread_kinds[i]])
            return name;
    }
    return NULL;
}

static pid_t thread_tracer(const struct inspected *inspected, pid_t thread)
{
    CLEANUP(free_ptr) char *status = NULL;
    struct process process = PROCESS_INIT;
    char path[64];

    (void)snprintf(path, sizeof path, "task/%d/status", (int)thread);
    if (file_read(inspected->directory, path, 1 << 20, &status, NULL) < 0 ||
        process_parse_status(status, &process) < 0)
        return 0;
    return process.tracer;
}

static void check_thread(struct inspection *inspection, const struct inspected *inspected,
                         pid_t thread)
{
    const struct process *process = inspected->process;
    const char *name = private_namespace(inspected, thread);
    pid_t tracer = thread_tracer(inspected, thread);

    if (name)
        finding_add(inspection, "thread-private", PREFLIGHT_REFUSE, process, NULL,
                    "its thread %d is in another %s namespace", (int)thread, name);
    if (syscall(SYS_kcmp, process->pid, thread, KCMP_FILES, 0, 0) > 0)
        finding_add(inspection, "thread-private", PREFLIGHT_REFUSE, process, NULL,
                    "its thread %d has open files of its own", (int)thread);
    if (tracer) {
        CLEANUP(free_ptr) char *text = process_text(tracer);

        finding_add(inspection, "traced", PREFLIGHT_REFUSE, process, NULL,
                    "process %s traces its thread %d", text, (int)thread);
    }
}

void check_threads(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->count; i++) {
        const struct inspected *inspected = &inspection->processes[i];
        CLEANUP(free_ptr) pid_t *threads = NULL;
        size_t count = 0;

        if (inspected->process->threads < 2 ||
            process_threads(inspected->directory, &threads, &count, NULL) < 0)
            continue;
        for (size_t j = 0; j < count; j++) {
            if (threads[j] != inspected->process->pid)
                check_thread(inspection, inspected, threads[j]);
        }
    }
}
