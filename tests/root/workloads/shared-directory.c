/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes with one current directory and one file mode mask. */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static struct worker worker;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    (void)umask((mode_t)(question & 0777));
    *answer = question;
    return 0;
}

static int setup(void)
{
    int fds[2];
    pid_t pid;

    PASS_ON(channel_make(fds));
    MUST(pid = (pid_t)syscall(SYS_clone, CLONE_FS | SIGCHLD, NULL, NULL, NULL, 0), "clone");
    if (pid == 0) {
        (void)close(fds[0]);
        worker_become(fds[1]);
        serve_forever(fds[1], serve, NULL);
    }
    (void)close(fds[1]);
    worker_adopt(&worker, pid, fds[0]);
    return 0;
}

static int check(uint64_t n)
{
    PASS_ON(worker_expect(&worker, "answer", n, n));
    EQUAL("mask set by the other", n & 0777, umask(022));
    return 0;
}

const struct workload_kind kind_shared_directory = {
    .name = "shared-directory",
    .description = "current directory and mask shared by processes (CLONE_FS)",
    .flags = KIND_REFUSED,
    .reason = "CRIU carries such sharing over between threads only",
    .setup = setup,
    .check = check,
};
