/* SPDX-License-Identifier: Apache-2.0 */
/* Pending and queued signals with values, blocked ones, handlers with masks and flags. */
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum { QUEUED = 4 };

static sigset_t held;

static void handle(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
}

static int leave_pending(uint64_t n)
{
    union sigval value;

    for (unsigned int i = 0; i < QUEUED; i++) {
        value.sival_int = (int)(n * 10 + i);
        MUST(sigqueue(getpid(), SIGRTMIN + 7, value), "sigqueue");
    }
    MUST(kill(getpid(), SIGHUP), "kill");
    /* To the thread, not to the process: another queue. */
    value.sival_int = (int)n;
    return -pthread_sigqueue(pthread_self(), SIGRTMIN + 8, value);
}

static int setup(void)
{
    struct sigaction action = {.sa_sigaction = handle,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER};

    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGRTMIN + 7);
    (void)sigaddset(&held, SIGRTMIN + 8);
    (void)sigaddset(&held, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &held, NULL);
    (void)sigaddset(&action.sa_mask, SIGINT);
    MUST(sigaction(SIGUSR2, &action, NULL), "sigaction");
    (void)signal(SIGQUIT, SIG_IGN);
    return leave_pending(0);
}

static int take(int number, int expected_value)
{
    struct timespec at_once = {0};
    siginfo_t info;
    sigset_t one;

    (void)sigemptyset(&one);
    (void)sigaddset(&one, number);
    MUST(sigtimedwait(&one, &info, &at_once), "pending signal");
    if (expected_value >= 0)
        EQUAL("value of a signal", expected_value, info.si_value.sival_int);
    EQUAL("sender of a signal", getpid(), info.si_pid);
    return 0;
}

static int check_dispositions(void)
{
    struct sigaction seen;
    sigset_t blocked;

    MUST(sigaction(SIGUSR2, NULL, &seen), "sigaction");
    EQUAL("handler kept", 1, seen.sa_sigaction == handle);
    EQUAL("flags of the handler", SA_SIGINFO | SA_RESTART | SA_NODEFER,
          seen.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER | SA_ONSTACK));
    EQUAL("mask of the handler", 1, sigismember(&seen.sa_mask, SIGINT));
    MUST(sigaction(SIGQUIT, NULL, &seen), "sigaction");
    EQUAL("ignored signal", 1, seen.sa_handler == SIG_IGN);
    (void)sigprocmask(SIG_BLOCK, NULL, &blocked);
    EQUAL("blocked", 1, sigismember(&blocked, SIGRTMIN + 7));
    EQUAL("not blocked", 0, sigismember(&blocked, SIGUSR2));
    return 0;
}

static int check(uint64_t n)
{
    PASS_ON(check_dispositions());
    for (unsigned int i = 0; i < QUEUED; i++)
        PASS_ON(take(SIGRTMIN + 7, (int)((n - 1) * 10 + i)));
    PASS_ON(take(SIGRTMIN + 8, (int)n - 1));
    PASS_ON(take(SIGHUP, -1));
    return leave_pending(n);
}

const struct workload_kind kind_signals = {
    .name = "signals",
    .description = "pending, queued and blocked signals, handlers",
    .setup = setup,
    .check = check,
};
