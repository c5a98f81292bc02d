/* SPDX-License-Identifier: Apache-2.0 */
/* Two thousand descriptors, more than fit one page of anything. */
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"

enum { COUNT = 2000 };

static int fds[COUNT];

static int setup(void)
{
    struct rlimit limit;

    MUST(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    if (limit.rlim_max < COUNT + 100)
        return skip_kind("RLIMIT_NOFILE is below %d", COUNT + 100);
    if (limit.rlim_cur < COUNT + 100) {
        limit.rlim_cur = COUNT + 100;
        MUST(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    }
    for (unsigned int i = 0; i < COUNT; i++)
        MUST(fds[i] = eventfd(i, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
    return 0;
}

static int check(uint64_t n)
{
    for (unsigned int i = 0; i < COUNT; i++) {
        uint64_t seen = 0;
        uint64_t next = n * COUNT + i + 1;
        ssize_t got = read(fds[i], &seen, sizeof(seen));

        if (i == 0 && n == 1)
            EQUAL("read of an empty counter", -1, got);
        else
            EQUAL("counter", n == 1 ? i : (n - 1) * COUNT + i + 1, seen);
        MUST(write(fds[i], &next, sizeof(next)), "write");
    }
    return 0;
}

const struct workload_kind kind_many_descriptors = {
    .name = "many-descriptors",
    .description = "2000 descriptors",
    .setup = setup,
    .check = check,
};
