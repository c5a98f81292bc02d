/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/plugin/thread.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* PTRACE_SETSIGMASK counts in the kernel's signal sets. */
static const uint64_t all_but_trap = ~(UINT64_C(1) << (SIGTRAP - 1));

static int options_set(pid_t tid, unsigned long options)
{
    return ptrace(PTRACE_SETOPTIONS, tid, NULL, (void *)options) < 0 ? -errno : 0;
}

static int mask_set(pid_t tid, uint64_t mask)
{
    return ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof mask, &mask) < 0 ? -errno : 0;
}

int thread_resume(pid_t tid, struct resumed_thread *ret_thread)
{
    uint64_t mask;
    int result;

    if (ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof mask, &mask) < 0) {
        if (errno != ESRCH)
            return -errno;
        *ret_thread = (struct resumed_thread){.tid = 0};
        return 0;
    }
    result = mask_set(tid, all_but_trap);
    if (result < 0)
        return result;
    /* CRIU suspends seccomp filters while it works in a task; this thread runs as always. */
    result = options_set(tid, 0);
    if (result == 0 && ptrace(PTRACE_CONT, tid, NULL, NULL) < 0)
        result = -errno;
    if (result < 0) {
        (void)mask_set(tid, mask);
        return result;
    }
    *ret_thread = (struct resumed_thread){.tid = tid, .mask = mask};
    return 0;
}

int thread_keep_running(const struct resumed_thread *thread)
{
    int status;
    pid_t found;

    if (thread->tid == 0)
        return 0;
    do {
        found = waitpid(thread->tid, &status, WNOHANG | __WALL);
        if (found == 0)
            return 0;
        if (found < 0)
            return errno == EINTR ? 0 : -errno;
        if (!WIFSTOPPED(status))
            return -ESRCH;
    } while (ptrace(PTRACE_CONT, thread->tid, NULL, NULL) == 0);
    return -errno;
}

/* Until the stop that PTRACE_INTERRUPT causes; others on the way are passed. */
static int interrupt_wait(pid_t tid)
{
    for (;;) {
        int status;

        if (waitpid(tid, &status, __WALL) < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (!WIFSTOPPED(status))
            return -ESRCH;
        if (status >> 16 == PTRACE_EVENT_STOP)
            return 0;
        if (ptrace(PTRACE_CONT, tid, NULL, NULL) < 0)
            return -errno;
    }
}

int thread_stop(const struct resumed_thread *thread)
{
    const unsigned long options = PTRACE_O_TRACESYSGOOD;
    int result;

    if (thread->tid == 0)
        return 0;
    if (ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) < 0)
        return -errno;
    result = interrupt_wait(thread->tid);
    if (result < 0)
        return result;
    result = options_set(thread->tid, options | PTRACE_O_SUSPEND_SECCOMP);
    if (result < 0)
        result = options_set(thread->tid, options);
    if (result == 0)
        result = mask_set(thread->tid, thread->mask);
    return result;
}
