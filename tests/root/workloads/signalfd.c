/* SPDX-License-Identifier: Apache-2.0 */
/* A signal descriptor with a queued signal and its value. */
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common.h"

static int fd;

static int queue(uint64_t n)
{
    union sigval value = {.sival_int = (int)n};

    MUST(sigqueue(getpid(), SIGRTMIN + 5, value), "sigqueue");
    MUST(kill(getpid(), SIGUSR2), "kill");
    return 0;
}

static int setup(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGRTMIN + 5);
    (void)sigaddset(&set, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    MUST(fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
    return queue(0);
}

static int check(uint64_t n)
{
    struct signalfd_siginfo seen;

    MUST(read(fd, &seen, sizeof(seen)), "read");
    EQUAL("first signal", SIGUSR2, seen.ssi_signo);
    MUST(read(fd, &seen, sizeof(seen)), "read");
    EQUAL("second signal", SIGRTMIN + 5, seen.ssi_signo);
    EQUAL("value", n - 1, seen.ssi_int);
    EQUAL("sender", getpid(), seen.ssi_pid);
    PASS_ON(expect_quiet(fd, "emptied descriptor"));
    return queue(n);
}

const struct workload_kind kind_signalfd = {
    .name = "signalfd",
    .description = "signal descriptor with queued signals",
    .setup = setup,
    .check = check,
};
