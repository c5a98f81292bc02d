/* SPDX-License-Identifier: Apache-2.0 */
/* A child under ptrace, as below a debugger. */
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "common.h"

static struct worker child;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    *answer = question;
    return 0;
}

static int setup(void)
{
    PASS_ON(worker_start(&child, serve, NULL));
    MUST(ptrace(PTRACE_SEIZE, child.pid, NULL, NULL), "PTRACE_SEIZE");
    return 0;
}

static int check(uint64_t n)
{
    struct user_regs_struct registers;
    int status;

    PASS_ON(worker_expect(&child, "traced child", n, n));
    MUST(ptrace(PTRACE_INTERRUPT, child.pid, NULL, NULL), "PTRACE_INTERRUPT");
    PASS_ON(wait_child(child.pid, &status));
    EQUAL("stopped", 1, WIFSTOPPED(status));
    MUST(ptrace(PTRACE_GETREGS, child.pid, NULL, &registers), "PTRACE_GETREGS");
    MUST(ptrace(PTRACE_CONT, child.pid, NULL, NULL), "PTRACE_CONT");
    return 0;
}

const struct workload_kind kind_traced = {
    .name = "traced",
    .description = "child under ptrace",
    .flags = KIND_REFUSED,
    .reason = "a process has one tracer, and CRIU must be it",
    .setup = setup,
    .check = check,
};
