/* SPDX-License-Identifier: Apache-2.0 */
/* Processes at six levels, two at each; a question goes down and sums come up. */
#include <unistd.h>

#include "common.h"

enum { LEVELS = 6 };

static struct level {
    unsigned int depth;
    pid_t parent;
    uint64_t count;
    struct worker chain;
    struct worker leaf;
} self;

static int serve_leaf(void *arg, uint64_t question, uint64_t *answer)
{
    struct level *above = arg;

    above->count++; /* in the leaf's own copy */
    EQUAL("count of a leaf", question, above->count);
    *answer = above->depth;
    return 0;
}

static int serve_level(void *arg, uint64_t question, uint64_t *answer);

static int start_below(void)
{
    PASS_ON(worker_start(&self.leaf, serve_leaf, &self));
    if (self.depth + 1 < LEVELS)
        PASS_ON(worker_start(&self.chain, serve_level, &self));
    return 0;
}

static int ask_below(uint64_t n, uint64_t *ret_sum)
{
    uint64_t deeper = 0;

    PASS_ON(worker_expect(&self.leaf, "leaf", n, self.depth));
    if (self.depth + 1 < LEVELS)
        PASS_ON(worker_ask(&self.chain, n, &deeper));
    *ret_sum = deeper + self.depth;
    return 0;
}

/* Question 0 builds the next level. */
static int serve_level(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    if (question == 0) {
        self.depth++;
        self.parent = getppid();
        PASS_ON(start_below());
        if (self.depth + 1 < LEVELS)
            PASS_ON(worker_ask(&self.chain, 0, answer));
        return 0;
    }
    EQUAL("parent", self.parent, getppid());
    return ask_below(question, answer);
}

static int setup(void)
{
    uint64_t nothing;

    PASS_ON(start_below());
    return worker_ask(&self.chain, 0, &nothing);
}

static int check(uint64_t n)
{
    uint64_t sum;

    PASS_ON(ask_below(n, &sum));
    EQUAL("sum of the depths", LEVELS * (LEVELS - 1) / 2, sum);
    return 0;
}

const struct workload_kind kind_deep_tree = {
    .name = "deep-tree",
    .description = "processes at six levels",
    .setup = setup,
    .check = check,
};
