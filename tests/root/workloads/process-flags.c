/* SPDX-License-Identifier: Apache-2.0 */
/* What prctl() sets: each of these is forgotten by a program that starts afresh. */
#include <signal.h>
#include <sys/prctl.h>

#include "common.h"

static struct worker worker;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    int death_signal = 0;

    (void)arg;
    if (question == 0) {
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
        MUST(prctl(PR_SET_PDEATHSIG, SIGHUP), "PR_SET_PDEATHSIG");
        return 0;
    }
    EQUAL("no new privileges", 1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    MUST(prctl(PR_GET_PDEATHSIG, &death_signal), "PR_GET_PDEATHSIG");
    EQUAL("signal at the parent's death", SIGHUP, death_signal);
    *answer = question;
    return 0;
}

static int setup(void)
{
    PASS_ON(worker_start(&worker, serve, NULL));
    PASS_ON(worker_expect(&worker, "start", 0, 0));
    MUST(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), "PR_SET_THP_DISABLE");
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    return 0;
}

static int check(uint64_t n)
{
    int is_subreaper = 0;

    EQUAL("no new privileges", 0, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    EQUAL("huge pages off", 1, prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    MUST(prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper), "PR_GET_CHILD_SUBREAPER");
    EQUAL("subreaper", 1, is_subreaper);
    EQUAL("dumpable", 1, prctl(PR_GET_DUMPABLE));
    return worker_expect(&worker, "flags of the child", n, n);
}

const struct workload_kind kind_process_flags = {
    .name = "process-flags",
    .description = "process flags of prctl()",
    .setup = setup,
    .check = check,
};
