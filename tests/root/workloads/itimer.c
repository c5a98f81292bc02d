/* SPDX-License-Identifier: Apache-2.0 */
/* The three interval timers. */
#include <signal.h>
#include <sys/time.h>

#include "common.h"

enum { LONG_SECONDS = 7200 };

static volatile sig_atomic_t ticks;

static void tick(int number)
{
    (void)number;
    ticks++;
}

static int setup(void)
{
    struct itimerval often = {.it_value.tv_usec = 20000, .it_interval.tv_usec = 20000};
    struct itimerval rarely = {.it_value.tv_sec = LONG_SECONDS, .it_interval.tv_sec = LONG_SECONDS};
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};

    MUST(sigaction(SIGALRM, &action, NULL), "sigaction");
    MUST(setitimer(ITIMER_VIRTUAL, &rarely, NULL), "ITIMER_VIRTUAL");
    MUST(setitimer(ITIMER_PROF, &rarely, NULL), "ITIMER_PROF");
    MUST(setitimer(ITIMER_REAL, &often, NULL), "ITIMER_REAL");
    return 0;
}

static int check_long(const char *what, int which)
{
    struct itimerval seen;

    MUST(getitimer((__itimer_which_t)which, &seen), what);
    EQUAL(what, LONG_SECONDS, seen.it_interval.tv_sec);
    WITHIN(what, LONG_SECONDS - 600, LONG_SECONDS, seen.it_value.tv_sec);
    return 0;
}

static int check(uint64_t n)
{
    sig_atomic_t before = ticks;

    (void)n;
    PASS_ON(check_long("virtual timer", ITIMER_VIRTUAL));
    PASS_ON(check_long("profiling timer", ITIMER_PROF));
    for (unsigned int ms = 0; ms < TIMEOUT_MS && ticks < before + 3; ms++)
        (void)sleep_ms(1);
    AT_LEAST("ticks of the real timer", before + 3, ticks);
    return 0;
}

const struct workload_kind kind_itimer = {
    .name = "itimer",
    .description = "interval timers, real, virtual and profiling",
    .setup = setup,
    .check = check,
};
