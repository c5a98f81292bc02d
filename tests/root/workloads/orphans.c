/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon in the old way: forked twice, so that its parent is not here but above. */
#include <signal.h>
#include <unistd.h>

#include "common.h"

static struct worker daemon_process;
static uint64_t count;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    EQUAL("session is not the own process", 1, getsid(0) != getpid());
    count++;
    EQUAL("count kept by the daemon", question, count);
    *answer = (uint64_t)getpid();
    return 0;
}

static void become_daemon(int fd)
{
    sigset_t none;
    pid_t pid;

    (void)setsid();
    pid = fork();
    if (pid != 0)
        _exit(pid < 0);
    (void)signal(SIGTERM, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    pid = getpid();
    if (write(fd, &pid, sizeof(pid)) == (ssize_t)sizeof(pid))
        serve_forever(fd, serve, NULL);
    _exit(1);
}

static int setup(void)
{
    int fds[2];
    int status;
    pid_t pid;

    PASS_ON(channel_make(fds));
    MUST(pid = fork(), "fork");
    if (pid == 0) {
        (void)close(fds[0]);
        become_daemon(fds[1]);
    }
    (void)close(fds[1]);
    PASS_ON(wait_child(pid, &status));
    EQUAL("status of the first child", 0, status);
    PASS_ON(read_full(fds[0], &pid, sizeof(pid)));
    daemon_process = (struct worker){.pid = pid, .fd = fds[0]};
    return 0;
}

static int check(uint64_t n)
{
    PASS_ON(worker_expect(&daemon_process, "process id of the daemon", n,
                          (uint64_t)daemon_process.pid));
    MUST(kill(daemon_process.pid, 0), "kill 0");
    return 0;
}

static void stop(void)
{
    (void)kill(daemon_process.pid, SIGKILL);
}

const struct workload_kind kind_orphans = {
    .name = "orphans",
    .description = "daemon whose parent has gone",
    .flags = KIND_NAMESPACES,
    .reason = "outside a process namespace the daemon is no descendant of the workload",
    .setup = setup,
    .check = check,
    .stop = stop,
};
