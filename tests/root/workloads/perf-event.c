/* SPDX-License-Identifier: Apache-2.0 */
/* A counter of the performance subsystem. */
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static int fd;
static uint64_t last;

static int setup(void)
{
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_SOFTWARE, .size = sizeof(attributes), .config = PERF_COUNT_SW_TASK_CLOCK};

    fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0)
        return skip_kind("perf_event_open: %s", strerror(errno));
    return 0;
}

static int check(uint64_t n)
{
    uint64_t seen = 0;

    (void)n;
    MUST(read(fd, &seen, sizeof(seen)), "read");
    AT_LEAST("task clock", last + 1, seen);
    last = seen;
    return 0;
}

const struct workload_kind kind_perf_event = {
    .name = "perf-event",
    .description = "performance counter",
    .flags = KIND_REFUSED,
    .reason = "CRIU does not carry performance counters over",
    .setup = setup,
    .check = check,
};
