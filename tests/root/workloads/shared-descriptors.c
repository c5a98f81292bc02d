/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who shares what: one open file description in two processes, and one descriptor
 * table in two processes.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static struct {
    int file;
    struct worker forked; /* same open file description */
    struct worker table;  /* same descriptor table */
} s;

static int serve_forked(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    MUST(lseek(s.file, (off_t)question, SEEK_CUR), "lseek");
    *answer = (uint64_t)lseek(s.file, 0, SEEK_CUR);
    return 0;
}

static int serve_table(void *arg, uint64_t question, uint64_t *answer)
{
    int fds[2];

    (void)arg;
    MUST(pipe2(fds, O_CLOEXEC), "pipe2");
    MUST(write(fds[1], &question, sizeof(question)), "write");
    (void)close(fds[1]);
    *answer = (uint64_t)fds[0];
    return 0;
}

static int start_table(void)
{
    int fds[2];
    pid_t pid;

    PASS_ON(channel_make(fds));
    MUST(pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0), "clone");
    if (pid == 0) {
        /* No closing of siblings' ends here: the table belongs to both. */
        (void)signal(SIGTERM, SIG_DFL);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve_forever(fds[1], serve_table, NULL);
    }
    worker_adopt(&s.table, pid, fds[0]);
    return 0;
}

static int setup(void)
{
    MUST(s.file = memfd_create("shared", MFD_CLOEXEC), "memfd_create");
    PASS_ON(worker_start(&s.forked, serve_forked, NULL));
    return start_table();
}

static int check(uint64_t n)
{
    uint64_t fd;
    uint64_t seen = 0;
    uint64_t before = n * (n - 1);

    EQUAL("shared offset", before, lseek(s.file, 0, SEEK_CUR));
    PASS_ON(worker_expect(&s.forked, "offset in the child", n, before + n));
    EQUAL("offset moved by the child", before + n, lseek(s.file, 0, SEEK_CUR));
    MUST(lseek(s.file, (off_t)n, SEEK_CUR), "lseek");
    PASS_ON(worker_ask(&s.table, n, &fd));
    PASS_ON(read_full((int)fd, &seen, sizeof(seen)));
    EQUAL("number in a pipe opened by the other", n, seen);
    (void)close((int)fd);
    return 0;
}

const struct workload_kind kind_shared_descriptors = {
    .name = "shared-descriptors",
    .description = "shared file offsets, descriptor tables (CLONE_FILES)",
    .setup = setup,
    .check = check,
};
