/* SPDX-License-Identifier: Apache-2.0 */
/* Event counters. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common.h"

static int plain;
static int empty;

static int setup(void)
{
    MUST(plain = eventfd(1000, EFD_CLOEXEC), "eventfd");
    MUST(empty = eventfd(0, EFD_NONBLOCK), "eventfd");
    return 0;
}

static int check(uint64_t n)
{
    uint64_t seen = 0;
    uint64_t next = 1000 + n;

    EQUAL("close-on-exec", FD_CLOEXEC, fcntl(plain, F_GETFD));
    EQUAL("O_NONBLOCK", O_NONBLOCK, fcntl(empty, F_GETFL) & O_NONBLOCK);
    MUST(read(plain, &seen, sizeof(seen)), "read");
    EQUAL("counter", 1000 + n - 1, seen);
    MUST(write(plain, &next, sizeof(next)), "write");
    EQUAL("read of the empty counter", -1, read(empty, &seen, sizeof(seen)));
    EQUAL("errno of the empty counter", EAGAIN, errno);
    return 0;
}

const struct workload_kind kind_eventfd = {
    .name = "eventfd",
    .description = "event counters",
    .setup = setup,
    .check = check,
};
