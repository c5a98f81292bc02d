/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks read without a system call agree with those read with one. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

static int64_t last;

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static int compare(clockid_t clock, int64_t *ret_now)
{
    struct timespec before;
    struct timespec between;
    struct timespec after;

    MUST(clock_gettime(clock, &before), "clock_gettime");
    MUST(syscall(SYS_clock_gettime, clock, &between), "system call clock_gettime");
    MUST(clock_gettime(clock, &after), "clock_gettime");
    WITHIN("nanoseconds", nanoseconds(&before), nanoseconds(&after), nanoseconds(&between));
    *ret_now = nanoseconds(&after);
    return 0;
}

static int setup(void)
{
    return compare(CLOCK_MONOTONIC, &last);
}

static int check(uint64_t n)
{
    int64_t now;

    (void)n;
    PASS_ON(compare(CLOCK_REALTIME, &now));
    PASS_ON(compare(CLOCK_BOOTTIME, &now));
    PASS_ON(compare(CLOCK_MONOTONIC, &now));
    AT_LEAST("monotonic clock", last, now);
    last = now;
    return 0;
}

const struct workload_kind kind_vdso_clock = {
    .name = "vdso-clock",
    .description = "clocks through the vdso",
    .setup = setup,
    .check = check,
};
