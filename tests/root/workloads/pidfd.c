/* SPDX-License-Identifier: Apache-2.0 */
/* A process descriptor of a child. */
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static struct worker worker;
static int descriptor;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    *answer = question;
    return 0;
}

static int start(void)
{
    PASS_ON(worker_start(&worker, serve, NULL));
    descriptor = (int)syscall(SYS_pidfd_open, worker.pid, 0);
    if (descriptor < 0 && errno == ENOSYS)
        return skip_kind("no process descriptors in this kernel");
    MUST(descriptor, "pidfd_open");
    return 0;
}

static int check(uint64_t n)
{
    PASS_ON(worker_expect(&worker, "child", n, n));
    PASS_ON(expect_quiet(descriptor, "descriptor of a living process"));
    MUST(syscall(SYS_pidfd_send_signal, descriptor, SIGKILL, NULL, 0), "pidfd_send_signal");
    PASS_ON(wait_for(descriptor, POLLIN, "end of the child"));
    (void)close(descriptor);
    PASS_ON(worker_end(&worker));
    return start();
}

const struct workload_kind kind_pidfd = {
    .name = "pidfd",
    .description = "process descriptor of a child",
    .setup = start,
    .check = check,
};
