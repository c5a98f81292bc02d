/* SPDX-License-Identifier: Apache-2.0 */
/* Timer descriptors: time left, periods, and expirations nobody has read. */
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common.h"

enum { LONG_SECONDS = 7200 };

static struct {
    int rarely;
    int often;
    int expired;
    int disarmed;
} s;

static int make(int clock, time_t seconds, long ns, time_t interval, long interval_ns)
{
    struct itimerspec when = {.it_value = {seconds, ns}, .it_interval = {interval, interval_ns}};
    int fd = timerfd_create(clock, TFD_CLOEXEC);

    MUST(fd, "timerfd_create");
    MUST(timerfd_settime(fd, 0, &when, NULL), "timerfd_settime");
    return fd;
}

/* Leaves one expiration which has not been read. */
static int expire_once(void)
{
    struct itimerspec when = {.it_value = {0, 1000000}};

    MUST(timerfd_settime(s.expired, 0, &when, NULL), "timerfd_settime");
    return wait_for(s.expired, POLLIN, "expiration");
}

static int setup(void)
{
    PASS_ON(s.rarely = make(CLOCK_MONOTONIC, LONG_SECONDS, 0, LONG_SECONDS, 0));
    PASS_ON(s.often = make(CLOCK_BOOTTIME, LONG_SECONDS, 0, LONG_SECONDS, 0));
    PASS_ON(s.expired = make(CLOCK_REALTIME, 0, 0, 0, 0));
    PASS_ON(s.disarmed = make(CLOCK_MONOTONIC, 0, 0, 0, 0));
    return expire_once();
}

static int tick_for_a_while(void)
{
    struct itimerspec fast = {.it_value = {0, 10000000}, .it_interval = {0, 10000000}};
    struct itimerspec slow = {.it_value = {LONG_SECONDS, 0}, .it_interval = {LONG_SECONDS, 0}};
    uint64_t count = 0;

    MUST(timerfd_settime(s.often, 0, &fast, NULL), "timerfd_settime");
    for (int i = 0; i < 3; i++) {
        PASS_ON(wait_for(s.often, POLLIN, "tick"));
        MUST(read(s.often, &count, sizeof(count)), "read");
        AT_LEAST("ticks", 1, count);
    }
    MUST(timerfd_settime(s.often, 0, &slow, NULL), "timerfd_settime");
    return 0;
}

static int check(uint64_t n)
{
    struct itimerspec seen;
    uint64_t count = 0;

    (void)n;
    MUST(timerfd_gettime(s.rarely, &seen), "timerfd_gettime");
    EQUAL("interval", LONG_SECONDS, seen.it_interval.tv_sec);
    WITHIN("seconds left", LONG_SECONDS - 1800, LONG_SECONDS, seen.it_value.tv_sec);
    MUST(timerfd_gettime(s.disarmed, &seen), "timerfd_gettime");
    EQUAL("time of a disarmed timer", 0, seen.it_value.tv_sec + seen.it_value.tv_nsec);
    PASS_ON(expect_quiet(s.disarmed, "disarmed timer"));
    PASS_ON(tick_for_a_while());
    PASS_ON(wait_for(s.expired, POLLIN, "expiration not read yet"));
    MUST(read(s.expired, &count, sizeof(count)), "read");
    EQUAL("expirations not read yet", 1, count);
    return expire_once();
}

const struct workload_kind kind_timerfd = {
    .name = "timerfd",
    .description = "timer descriptors, with time left and unread expirations",
    .setup = setup,
    .check = check,
};
