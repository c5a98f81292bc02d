/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits, soft and hard, of the workload and of a child. */
#include <stdint.h>
#include <sys/resource.h>

#include "common.h"

static struct worker worker;

static const struct {
    __rlimit_resource_t which;
    rlim_t soft;
    rlim_t hard;
} limits[] = {
    {RLIMIT_NOFILE, 321, 654},
    {RLIMIT_CORE, 4096, 8192},
    {RLIMIT_NPROC, 5000, 6000},
    {RLIMIT_STACK, 4 * 1024 * 1024, 6 * 1024 * 1024},
    {RLIMIT_FSIZE, (rlim_t)1 << 33, (rlim_t)1 << 34},
    {RLIMIT_MEMLOCK, 1024 * 1024, 2 * 1024 * 1024},
};

static int compare(uint64_t lowered)
{
    struct rlimit seen;

    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        MUST(getrlimit(limits[i].which, &seen), "getrlimit");
        EQUAL("soft limit", limits[i].soft - (i == 0 ? lowered : 0), seen.rlim_cur);
        EQUAL("hard limit", limits[i].hard, seen.rlim_max);
    }
    return 0;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    *answer = question;
    return compare(0);
}

static int setup(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        struct rlimit limit = {.rlim_cur = limits[i].soft, .rlim_max = limits[i].hard};
        struct rlimit before;

        MUST(getrlimit(limits[i].which, &before), "getrlimit");
        if (before.rlim_max < limit.rlim_max)
            return skip_kind("hard limits here are below those of the test");
        MUST(setrlimit(limits[i].which, &limit), "setrlimit");
    }
    return worker_start(&worker, serve, NULL);
}

static int check(uint64_t n)
{
    struct rlimit next = {.rlim_cur = limits[0].soft - n, .rlim_max = limits[0].hard};

    PASS_ON(compare(n - 1));
    MUST(setrlimit(RLIMIT_NOFILE, &next), "setrlimit");
    return worker_expect(&worker, "limits of the child", n, n);
}

const struct workload_kind kind_rlimits = {
    .name = "rlimits",
    .description = "resource limits",
    .setup = setup,
    .check = check,
};
