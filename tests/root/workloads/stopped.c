/* SPDX-License-Identifier: Apache-2.0 */
/* A child stopped by a signal stays stopped, and goes on when told. */
#include <signal.h>

#include "common.h"

static struct worker worker;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    *answer = question + 5;
    return 0;
}

static int stop_child(void)
{
    MUST(kill(worker.pid, SIGSTOP), "kill");
    return wait_state(worker.pid, 'T');
}

static int setup(void)
{
    PASS_ON(worker_start(&worker, serve, NULL));
    PASS_ON(worker_expect(&worker, "answer", 1, 6));
    return stop_child();
}

static int check(uint64_t n)
{
    EQUAL("state", 'T', process_state(worker.pid));
    MUST(kill(worker.pid, SIGCONT), "kill");
    PASS_ON(worker_expect(&worker, "answer", n, n + 5));
    return stop_child();
}

const struct workload_kind kind_stopped = {
    .name = "stopped",
    .description = "child stopped by SIGSTOP",
    .setup = setup,
    .check = check,
};
