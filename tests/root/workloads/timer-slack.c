/* SPDX-License-Identifier: Apache-2.0 */
/* How late the kernel may wake the workload up. */
#include <sys/prctl.h>

#include "common.h"

static int setup(void)
{
    MUST(prctl(PR_SET_TIMERSLACK, 777000), "PR_SET_TIMERSLACK");
    return 0;
}

static int check(uint64_t n)
{
    EQUAL("timer slack", 777000 + n - 1, prctl(PR_GET_TIMERSLACK));
    MUST(prctl(PR_SET_TIMERSLACK, 777000 + n), "PR_SET_TIMERSLACK");
    return 0;
}

const struct workload_kind kind_timer_slack = {
    .name = "timer-slack",
    .description = "timer slack",
    .flags = KIND_CARRIED_OR_REFUSED,
    .reason = "CRIU restores the default",
    .setup = setup,
    .check = check,
};
