/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A periodic timer descriptor whose period is over and which nobody has read
 * since: the kernel then shows no time left, as it does for a disarmed one.
 */
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common.h"

static int fd;

static int setup(void)
{
    struct itimerspec when = {.it_value = {0, 10000000}, .it_interval = {0, 10000000}};

    MUST(fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd_create");
    MUST(timerfd_settime(fd, 0, &when, NULL), "timerfd_settime");
    return wait_for(fd, POLLIN, "first tick");
}

static int check(uint64_t n)
{
    uint64_t count = 0;

    (void)n;
    for (int i = 0; i < 3; i++) {
        PASS_ON(wait_for(fd, POLLIN, "tick"));
        MUST(read(fd, &count, sizeof(count)), "read");
        AT_LEAST("ticks", 1, count);
    }
    return wait_for(fd, POLLIN, "tick not read yet");
}

const struct workload_kind kind_timerfd_elapsed = {
    .name = "timerfd-elapsed",
    .description = "periodic timer descriptor with a tick nobody has read",
    .flags = KIND_CARRIED_OR_REFUSED,
    .reason = "CRIU takes it for disarmed, and it never ticks again",
    .setup = setup,
    .check = check,
};
