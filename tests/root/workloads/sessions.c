/* SPDX-License-Identifier: Apache-2.0 */
/* Children in sessions of their own, with a grandchild in one of them. */
#include <unistd.h>

#include "common.h"

static struct worker workers[3];

/* The grandchild belongs to the first child's session. */
static struct worker grandchild;

static int serve_grandchild(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    EQUAL("session of the grandchild", question, getsid(0));
    *answer = question + 1;
    return 0;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    if (getsid(0) != getpid() && setsid() < 0)
        return fail_errno("setsid");
    if (arg == &workers[0] && grandchild.pid == 0)
        PASS_ON(worker_start(&grandchild, serve_grandchild, NULL));
    if (arg == &workers[0])
        PASS_ON(
            worker_expect(&grandchild, "grandchild", (uint64_t)getpid(), (uint64_t)getpid() + 1));
    *answer = question;
    return 0;
}

static int setup(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
        PASS_ON(worker_start(&workers[i], serve, &workers[i]));
        PASS_ON(worker_expect(&workers[i], "child", 0, 0));
    }
    return 0;
}

static int check(uint64_t n)
{
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
        EQUAL("session of a child", workers[i].pid, getsid(workers[i].pid));
        EQUAL("group of a child", workers[i].pid, getpgid(workers[i].pid));
        PASS_ON(worker_expect(&workers[i], "child", n, n));
    }
    return 0;
}

const struct workload_kind kind_sessions = {
    .name = "sessions",
    .description = "children in sessions of their own",
    .setup = setup,
    .check = check,
};
