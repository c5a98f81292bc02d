/* SPDX-License-Identifier: Apache-2.0 */
/* An event counter in semaphore mode: each read takes one. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "common.h"

static int fd;

static int setup(void)
{
    MUST(fd = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK), "eventfd");
    return 0;
}

static int check(uint64_t n)
{
    uint64_t seen = 0;
    uint64_t refill = 3;

    (void)n;
    for (int i = 0; i < 3; i++) {
        MUST(read(fd, &seen, sizeof(seen)), "read");
        EQUAL("one from the semaphore", 1, seen);
    }
    EQUAL("read of the empty semaphore", -1, read(fd, &seen, sizeof(seen)));
    MUST(write(fd, &refill, sizeof(refill)), "write");
    return 0;
}

const struct workload_kind kind_eventfd_semaphore = {
    .name = "eventfd-semaphore",
    .description = "event counter in semaphore mode",
    .flags = KIND_CARRIED_OR_REFUSED,
    .reason = "CRIU restores it as a plain counter, whose reads take everything",
    .setup = setup,
    .check = check,
};
