/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes with state of their own: alive, with the same ids, and answering. */
#include <unistd.h>

#include "common.h"

enum { CHILDREN = 8 };

static struct worker workers[CHILDREN];
static pid_t parent;
static uint64_t total; /* each child has its own copy */

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    const struct worker *own = arg;

    EQUAL("parent", parent, getppid());
    total += question * (uint64_t)(own - workers + 1);
    *answer = total;
    return 0;
}

static int setup(void)
{
    parent = getpid();
    for (size_t i = 0; i < CHILDREN; i++)
        PASS_ON(worker_start(&workers[i], serve, &workers[i]));
    return 0;
}

static int check(uint64_t n)
{
    EQUAL("own process id", parent, getpid());
    total += n;
    for (size_t i = 0; i < CHILDREN; i++)
        PASS_ON(worker_expect(&workers[i], "sum kept by a child", n, total * (i + 1)));
    return 0;
}

const struct workload_kind kind_children = {
    .name = "children",
    .description = "child processes with state",
    .setup = setup,
    .check = check,
};
