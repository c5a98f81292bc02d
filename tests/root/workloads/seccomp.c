/* SPDX-License-Identifier: Apache-2.0 */
/* A child with a system call filter. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static struct worker worker;

/* getpriority answers with an errno of our own; all else is allowed. */
static int install(void)
{
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 95),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_SIZE(instructions), .filter = instructions};

    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "PR_SET_SECCOMP");
    return 0;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    if (question == 0)
        return install();
    errno = 0;
    EQUAL("filtered call", -1, syscall(SYS_getpriority, 0, 0));
    EQUAL("errno of the filter", 95, errno);
    EQUAL("mode", SECCOMP_MODE_FILTER, prctl(PR_GET_SECCOMP));
    *answer = question;
    return 0;
}

static int setup(void)
{
    PASS_ON(worker_start(&worker, serve, NULL));
    return worker_expect(&worker, "start", 0, 0);
}

static int check(uint64_t n)
{
    EQUAL("unfiltered call", 1, syscall(SYS_getpriority, 0, 0) > 0);
    return worker_expect(&worker, "filtered child", n, n);
}

const struct workload_kind kind_seccomp = {
    .name = "seccomp",
    .description = "child with a system call filter",
    .setup = setup,
    .check = check,
};
