/* SPDX-License-Identifier: Apache-2.0 */
/* The CPUs on which the workload may run. */
#include <sched.h>

#include "common.h"

static int chosen = -1;

static int setup(void)
{
    cpu_set_t set;

    MUST(sched_getaffinity(0, sizeof(set), &set), "sched_getaffinity");
    if (CPU_COUNT(&set) < 2)
        return skip_kind("there is one CPU only");
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            chosen = cpu;
    CPU_ZERO(&set);
    CPU_SET(chosen, &set);
    MUST(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
    return 0;
}

static int check(uint64_t n)
{
    cpu_set_t set;

    (void)n;
    MUST(sched_getaffinity(0, sizeof(set), &set), "sched_getaffinity");
    EQUAL("number of CPUs", 1, CPU_COUNT(&set));
    EQUAL("the chosen CPU", 1, CPU_ISSET(chosen, &set));
    return 0;
}

const struct workload_kind kind_affinity = {
    .name = "affinity",
    .description = "CPU affinity",
    .flags = KIND_CARRIED_OR_REFUSED,
    .reason = "CRIU restores processes that may run on every CPU",
    .setup = setup,
    .check = check,
};
