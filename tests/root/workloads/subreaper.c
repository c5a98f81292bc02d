/* SPDX-License-Identifier: Apache-2.0 */
/* The workload adopts the orphans of its children. */
#include <sys/prctl.h>

#include "common.h"

static struct worker middle;
static struct worker grandchild; /* known in the middle process */
static pid_t adopted;

static int serve_grandchild(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    *answer = question;
    return 0;
}

static int serve_middle(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    (void)question;
    if (grandchild.pid == 0) {
        PASS_ON(worker_start(&grandchild, serve_grandchild, NULL));
        /* Let it outlive this process: a question settles that it has begun. */
        PASS_ON(worker_expect(&grandchild, "grandchild", 1, 1));
    }
    *answer = (uint64_t)grandchild.pid;
    return 0;
}

static int start(void)
{
    uint64_t pid;

    PASS_ON(worker_start(&middle, serve_middle, NULL));
    PASS_ON(worker_ask(&middle, 0, &pid));
    adopted = (pid_t)pid;
    return 0;
}

static int setup(void)
{
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    return start();
}

static int check(uint64_t n)
{
    int status;
    int is_subreaper = 0;

    (void)n;
    MUST(prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper), "PR_GET_CHILD_SUBREAPER");
    EQUAL("subreaper", 1, is_subreaper);
    /* With the middle process gone its child comes to us, and ends by itself. */
    PASS_ON(worker_end(&middle));
    PASS_ON(wait_child(adopted, &status));
    return start();
}

const struct workload_kind kind_subreaper = {
    .name = "subreaper",
    .description = "the workload adopts orphaned grandchildren",
    .setup = setup,
    .check = check,
};
