/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "workload/keeper-loop.h"
#include "workload/keeper-message.h"
#include "workload/keeper-namespaces.h"

static int open_null_stdio(void)
{
    CLEANUP(close_fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return -errno;
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(null, fd) < 0)
            return -errno;
    }
    if (null <= 2)
        (void)steal_fd(&null);
    return 0;
}

static int open_terminal(int *ret_master, int *ret_slave, struct error *error)
{
    CLEANUP(close_fd) int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[64];
    int slave;

    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
        ptsname_r(master, name, sizeof name) != 0)
        return error_set(error, "namespace-setup", errno, "Can't make a terminal");
    slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return error_set(error, "namespace-setup", errno, "Can't open %s", name);
    *ret_master = steal_fd(&master);
    *ret_slave = slave;
    return 0;
}

static int prepare_stdio(const struct keeper_plan *plan, struct keeper_stdio *stdio,
                         struct keeper_loop *loop, struct error *error)
{
    int pair[2];
    const char *path = plan->mode == WORKLOAD_OWN_PIDS ? KEEPER_LOG : plan->log_path;

    *stdio = (struct keeper_stdio){.kind = plan->stdio, .terminal = -1, .pipe = -1};
    stdio->log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (stdio->log < 0)
        return error_set(error, "namespace-setup", errno, "Can't open the log %s", path);
    if (plan->needs_pipe) {
        if (pipe2(pair, O_CLOEXEC) < 0)
            return error_set(error, "namespace-setup", errno, "Can't make a pipe");
        loop->pipe = pair[0];
        stdio->pipe = pair[1];
    }
    if (plan->stdio == STDIO_PTY)
        return open_terminal(&loop->master, &stdio->terminal, error);
    return 0;
}

/* Nothing of whoever started us stays open: a pipe that somebody reads would never end. */
static void keep_only(const struct keeper_loop *loop)
{
    int kept[] = {loop->socket, loop->directory, loop->lock, loop->master, loop->pipe, loop->log};
    unsigned from = 3;

    for (;;) { /* closes the gap before the lowest kept descriptor >= from, then goes on above */
        unsigned next = ~0U;

        for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
            if (kept[i] >= 0 && (unsigned)kept[i] >= from && (unsigned)kept[i] < next)
                next = (unsigned)kept[i];
        }
        if (next > from)
            (void)close_range(from, next == ~0U ? ~0U : next - 1, 0);
        if (next == ~0U)
            return;
        from = next + 1;
    }
}

static int begin(const struct keeper_plan *plan, struct keeper_loop *loop, struct error *error)
{
    struct keeper_stdio stdio = {.log = -1, .terminal = -1, .pipe = -1};
    struct keeper_begun begun = {.root = -1, .main = -1};
    int r = keeper_prepare_namespaces(plan, error);

    if (r == 0)
        r = prepare_stdio(plan, &stdio, loop, error);
    if (r == 0)
        r = plan->begin(&stdio, plan->context, &begun, error);
    close_fd(&stdio.terminal);
    close_fd(&stdio.pipe);
    loop->log = stdio.log;
    if (r < 0)
        return r;
    loop->root = begun.root;
    loop->helper = begun.helper;
    return keeper_send_begun(loop->socket, &begun);
}

_Noreturn static void keeper_main(const struct keeper_plan *plan, int socket)
{
    struct keeper_loop loop = {.socket = socket,
                               .directory = plan->directory,
                               .lock = plan->lock,
                               .master = -1,
                               .pipe = -1,
                               .log = -1,
                               .root = -1,
                               .host_mode = plan->mode == WORKLOAD_HOST_PIDS};
    struct error error = ERROR_INIT;
    sigset_t all;

    (void)setsid();
    (void)prctl(PR_SET_NAME, "stasis-keeper");
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    if (loop.host_mode)
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (begin(plan, &loop, &error) < 0) {
        keeper_send_failed(socket, &error);
        keeper_end_all(&loop);
    }
    (void)open_null_stdio();
    keep_only(&loop);
    keeper_run(&loop);
}

static pid_t clone_into(unsigned long flags, int *ret_process)
{
    int process = -1;
    struct clone_args arguments = {
        .flags = flags | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)&process,
        .exit_signal = SIGCHLD,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);

    if (pid > 0)
        *ret_process = process;
    return pid;
}

int keeper_start(const struct keeper_plan *plan, struct keeper *ret_keeper,
                 struct keeper_begun *ret_begun, struct error *error)
{
    struct keeper keeper = KEEPER_INIT;
    int pair[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(error, "system", errno, "Can't make a socket pair");
    keeper.pid = clone_into(keeper_namespace_flags(plan), &keeper.process);
    if (keeper.pid == 0) {
        (void)close(pair[0]);
        keeper_main(plan, pair[1]);
    }
    r = keeper.pid < 0 ? error_set(error, errno == EPERM ? "not-root" : "namespace-setup", errno,
                                   "Can't make namespaces for the workload")
                       : 0;
    (void)close(pair[1]);
    keeper.socket = pair[0];
    if (r == 0)
        r = keeper_receive_begun(keeper.socket, ret_begun, error);
    if (r < 0)
        keeper_done(&keeper);
    else
        *ret_keeper = keeper;
    return r;
}

int keeper_release(struct keeper *keeper, pid_t root, struct error *error)
{
    int r = keeper_send_release(keeper->socket, root);

    if (r == 0)
        r = keeper_receive_released(keeper->socket);
    if (r < 0)
        return error_set(error, "workload-died", r, "The workload ended while it was started");
    keeper->released = true;
    return 0;
}

int keeper_resize(struct keeper *keeper, const struct winsize *size)
{
    return keeper_send_size(keeper->socket, size, sizeof *size);
}

int keeper_input(struct keeper *keeper, const void *data, size_t length)
{
    return keeper_send_input(keeper->socket, data, length);
}

void keeper_done(struct keeper *keeper)
{
    close_fd(&keeper->socket);
    if (keeper->pid > 0 && !keeper->released)
        (void)waitpid(keeper->pid, NULL, 0);
    close_fd(&keeper->process);
    *keeper = KEEPER_INIT;
}
