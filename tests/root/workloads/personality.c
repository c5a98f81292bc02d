/* SPDX-License-Identifier: Apache-2.0 */
/* Execution domain flags. */
#include <sys/personality.h>

#include "common.h"

static struct worker worker;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    (void)question;
    *answer = (uint64_t)personality(0xffffffff);
    return 0;
}

static int setup(void)
{
    PASS_ON(worker_start(&worker, serve, NULL));
    MUST(personality(ADDR_NO_RANDOMIZE | UNAME26), "personality");
    return 0;
}

static int check(uint64_t n)
{
    (void)n;
    EQUAL("personality", ADDR_NO_RANDOMIZE | UNAME26, personality(0xffffffff));
    return worker_expect(&worker, "personality of the child", 0, 0);
}

const struct workload_kind kind_personality = {
    .name = "personality",
    .description = "execution domain flags",
    .flags = KIND_CARRIED_OR_REFUSED,
    .reason = "CRIU restores the default execution domain",
    .setup = setup,
    .check = check,
};
