/* SPDX-License-Identifier: Apache-2.0 */
/* Children in process groups, one group led by a process that has gone. */
#include <signal.h>
#include <unistd.h>

#include "common.h"

static struct worker leader;
static struct worker member;
static struct worker left_behind;
static pid_t dead_group;
static volatile sig_atomic_t signals_seen;

static void count_signal(int number)
{
    (void)number;
    signals_seen++;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    for (unsigned int ms = 0; ms < TIMEOUT_MS && (uint64_t)signals_seen < question; ms++)
        (void)sleep_ms(1);
    EQUAL("signals to the group", question, signals_seen);
    *answer = (uint64_t)getpgrp();
    return 0;
}

static int start_in_group(struct worker *worker, pid_t group)
{
    PASS_ON(worker_start(worker, serve, NULL));
    MUST(setpgid(worker->pid, group), "setpgid");
    return 0;
}

static int setup(void)
{
    struct worker gone;

    (void)signal(SIGUSR2, count_signal);
    PASS_ON(start_in_group(&leader, 0));
    PASS_ON(start_in_group(&member, leader.pid));
    PASS_ON(start_in_group(&gone, 0));
    dead_group = gone.pid;
    PASS_ON(start_in_group(&left_behind, dead_group));
    return worker_end(&gone);
}

static int check(uint64_t n)
{
    EQUAL("group of the leader", leader.pid, getpgid(leader.pid));
    EQUAL("group of the leaderless", dead_group, getpgid(left_behind.pid));
    MUST(kill(-leader.pid, SIGUSR2), "kill of a group");
    MUST(kill(-dead_group, SIGUSR2), "kill of a leaderless group");
    PASS_ON(worker_expect(&leader, "own group", n, (uint64_t)leader.pid));
    PASS_ON(worker_expect(&member, "own group", n, (uint64_t)leader.pid));
    PASS_ON(worker_expect(&left_behind, "own group", n, (uint64_t)dead_group));
    EQUAL("signals here", 0, signals_seen);
    return 0;
}

const struct workload_kind kind_process_groups = {
    .name = "process-groups",
    .description = "process groups, also one without its leader",
    .setup = setup,
    .check = check,
};
