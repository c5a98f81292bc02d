/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda/thread-id.h"
#include "cuda/thread-mask.h"

static void levels(void **state)
{
    struct pid_levels found;
    pid_t tid;
    int fd;

    (void)state;
    assert_int_equal(pid_levels_of(getpid(), 0, &found), 0);
    assert_int_equal(found.ids[0], getpid());
    assert_int_equal(pid_levels_of(getpid(), gettid(), &found), 0);
    assert_int_equal(found.ids[0], gettid());
    assert_int_equal(pid_levels_of(0x7ffffff, 0, &found), -ESRCH);
    fd = pidfd_of(getpid());
    assert_true(fd >= 0);
    assert_int_equal(pid_levels_of_pidfd(fd, &found), 0);
    assert_int_equal(found.ids[0], getpid());
    assert_int_equal(pidfd_ended(fd), 0);
    (void)close(fd);
    assert_int_equal(thread_id_to_outer(getpid(), gettid(), &tid), 0);
    assert_int_equal(tid, gettid());
    assert_int_equal(thread_id_to_outer(getpid(), 0x7ffffff, &tid), -ESRCH);
    assert_true(pidfd_of(0x7ffffff) < 0);
}

static void ended(void **state)
{
    struct pid_levels found;
    pid_t pid = fork();
    int fd;

    (void)state;
    if (pid == 0)
        _exit(0);
    fd = pidfd_of(pid);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(pidfd_ended(fd), 1);
    assert_int_equal(pid_levels_of_pidfd(fd, &found), -ESRCH);
    (void)close(fd);
}

static uint64_t mask_of(pid_t pid)
{
    uint64_t mask = 0;
    int status;

    assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
    assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
    assert_int_equal(waitpid(pid, &status, __WALL), pid);
    assert_int_equal(ptrace(PTRACE_GETSIGMASK, pid, (void *)sizeof mask, &mask), 0);
    assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
    return mask;
}

/* A child that says when it has blocked those signals. */
static pid_t child_with(const sigset_t *set)
{
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        (void)sigprocmask(SIG_SETMASK, set, NULL);
        (void)!write(ready[1], "", 1);
        for (;;)
            (void)pause();
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return pid;
}

static void masks(void **state)
{
    const uint64_t wanted = UINT64_C(1) << (SIGUSR1 - 1);
    sigset_t set;
    pid_t pid;

    (void)state;
    (void)sigfillset(&set);
    (void)sigdelset(&set, SIGTRAP);
    pid = child_with(&set);
    /* What a C library keeps for itself can't be blocked by sigprocmask. */
    if (mask_of(pid) == (THREAD_MASK_TRAP_ONLY & ~(UINT64_C(1) << 8) & ~(UINT64_C(1) << 18))) {
        assert_int_equal(thread_mask_repair(pid, pid, wanted), 0);
        assert_true(mask_of(pid) == wanted);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    /* Another mask is nobody's leftover. */
    (void)sigemptyset(&set);
    pid = child_with(&set);
    assert_int_equal(thread_mask_repair(pid, pid, wanted), 0);
    assert_true(mask_of(pid) == 0);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    assert_int_equal(thread_mask_repair(0x7ffffff, 0x7ffffff, wanted), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),
        cmocka_unit_test(ended),
        cmocka_unit_test(masks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
