/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX timers: a long one with time left, a short periodic one, one without a signal. */
#include <signal.h>
#include <time.h>

#include "common.h"

enum { LONG_SECONDS = 7200 };

static struct {
    timer_t once;
    timer_t periodic;
    timer_t silent;
    time_t left; /* of the long one, when last looked at */
} s;

static volatile sig_atomic_t ticks;
static volatile sig_atomic_t tick_value;

static void tick(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    tick_value = info->si_value.sival_int;
    ticks++;
}

static int make_timer(timer_t *ret_timer, int notify, time_t seconds, long interval_ns)
{
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = SIGRTMIN + 3};
    struct itimerspec when = {.it_value = {.tv_sec = seconds, .tv_nsec = interval_ns},
                              .it_interval = {.tv_sec = seconds, .tv_nsec = interval_ns}};

    event.sigev_value.sival_int = 1234;
    MUST(timer_create(CLOCK_MONOTONIC, &event, ret_timer), "timer_create");
    MUST(timer_settime(*ret_timer, 0, &when, NULL), "timer_settime");
    return 0;
}

static int setup(void)
{
    struct sigaction action = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO | SA_RESTART};

    MUST(sigaction(SIGRTMIN + 3, &action, NULL), "sigaction");
    PASS_ON(make_timer(&s.once, SIGEV_SIGNAL, LONG_SECONDS, 0));
    PASS_ON(make_timer(&s.periodic, SIGEV_SIGNAL, 0, 20 * 1000000));
    PASS_ON(make_timer(&s.silent, SIGEV_NONE, LONG_SECONDS, 0));
    s.left = LONG_SECONDS;
    return 0;
}

static int check_left(timer_t timer, time_t *ret_left)
{
    struct itimerspec seen;

    MUST(timer_gettime(timer, &seen), "timer_gettime");
    EQUAL("interval", LONG_SECONDS, seen.it_interval.tv_sec);
    /* Time must neither come back nor run out while nothing ran. */
    WITHIN("seconds left", LONG_SECONDS - 1800, s.left, seen.it_value.tv_sec);
    *ret_left = seen.it_value.tv_sec + 1;
    return 0;
}

static int check(uint64_t n)
{
    sig_atomic_t before = ticks;
    struct itimerspec seen;
    time_t left;

    (void)n;
    PASS_ON(check_left(s.silent, &left));
    PASS_ON(check_left(s.once, &left));
    s.left = left;
    MUST(timer_gettime(s.periodic, &seen), "timer_gettime");
    EQUAL("short interval", 20 * 1000000, seen.it_interval.tv_nsec);
    for (unsigned int ms = 0; ms < TIMEOUT_MS && ticks < before + 3; ms++)
        (void)sleep_ms(1);
    AT_LEAST("ticks of the periodic timer", before + 3, ticks);
    EQUAL("value sent with a tick", 1234, tick_value);
    return 0;
}

const struct workload_kind kind_posix_timers = {
    .name = "posix-timers",
    .description = "POSIX timers",
    .setup = setup,
    .check = check,
};
