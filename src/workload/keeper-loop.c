/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/keeper-loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "workload/keeper-message.h"

/* Ends that came before we knew which process is the root. */
struct ended {
    pid_t pid;
    int status;
};

enum { ENDED_KEPT = 64, STEP_MSEC = 5, HELPER_PATIENCE_MSEC = 10000 };

static struct ended ended[ENDED_KEPT];
static unsigned ended_count;

static int status_of(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

static void kill_children(void)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/self/task/%d/children", (int)getpid());
    CLEANUP(free_ptr) char *children = NULL;
    char *rest = NULL;

    if (file_read(AT_FDCWD, path, 1 << 20, &children, NULL) < 0)
        return;
    for (char *word = strtok_r(children, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        int pid;

        if (text_to_int(word, &pid) == 0)
            (void)kill(pid, SIGKILL);
    }
}

_Noreturn void keeper_end_all(struct keeper_loop *loop)
{
    /* Process 1 of a pid namespace takes all others with it. Elsewhere we are the reaper of
     * orphans: every round's children are the ones that the last round's deaths gave us. */
    while (loop->host_mode) {
        kill_children();
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            break;
    }
    _exit(0);
}

/* Copies what the workload has to say to the log; false at the end of it. */
static bool relay(const struct keeper_loop *loop, int *from)
{
    char piece[16384];
    ssize_t n = read(*from, piece, sizeof piece);

    if (n > 0)
        (void)file_write_all(loop->log, piece, (size_t)n);
    if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
        return true;
    close_fd(from); /* no process holds the other side any more (EIO, for a terminal) */
    return false;
}

static void drain(const struct keeper_loop *loop, int *from)
{
    struct pollfd wait = {.fd = *from, .events = POLLIN};

    while (*from >= 0 && poll(&wait, 1, 0) > 0 && relay(loop, from)) {
    }
}

_Noreturn static void finish(struct keeper_loop *loop, int wait_status)
{
    CLEANUP(free_ptr) char *text = text_format("{\"status\": %d}\n", status_of(wait_status));

    drain(loop, &loop->master);
    drain(loop, &loop->pipe);
    (void)file_write_atomic(loop->directory, "exit.json", text, strlen(text));
    _exit(0);
}

static void reap(struct keeper_loop *loop)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == loop->root) {
            loop->root_ended = true;
            loop->root_status = status;
        }
        if (pid == loop->helper)
            loop->helper = 0;
        ended[ended_count++ % ENDED_KEPT] = (struct ended){.pid = pid, .status = status};
    }
    /* The workload is all that its root has started: orphans come to us, and are waited for. */
    if (pid < 0 && errno == ECHILD && loop->released && loop->root_ended)
        finish(loop, loop->root_status);
}

/* CRIU that is cut short leaves temporary files beside those of the processes. */
static void await_helper(struct keeper_loop *loop)
{
    for (unsigned waited = 0; loop->helper > 0 && waited < HELPER_PATIENCE_MSEC;
         waited += STEP_MSEC) {
        reap(loop);
        if (loop->helper > 0)
            clock_sleep_msec(STEP_MSEC);
    }
}

static void release(struct keeper_loop *loop, pid_t root)
{
    loop->root = root;
    loop->released = true;
    (void)keeper_send_released(loop->socket);
    for (unsigned i = 0; i < ENDED_KEPT; i++) {
        if (ended[i].pid == root) {
            loop->root_ended = true;
            loop->root_status = ended[i].status;
        }
    }
    reap(loop);
}

static void handle_message(struct keeper_loop *loop)
{
    struct keeper_message message;
    int r = keeper_receive(loop->socket, &message);

    if (r <= 0) {
        if (!loop->released) {
            await_helper(loop);
            keeper_end_all(loop);
        }
        close_fd(&loop->socket);
        return;
    }
    if (message.type == KEEPER_RELEASE)
        release(loop, message.root);
    else if (message.type == KEEPER_SIZE && loop->master >= 0)
        (void)ioctl(loop->master, TIOCSWINSZ, message.text);
    else if (message.type == KEEPER_INPUT && loop->master >= 0)
        (void)file_write_all(loop->master, message.text, message.length);
}

_Noreturn void keeper_run(struct keeper_loop *loop)
{
    struct signalfd_siginfo information;
    sigset_t children;
    int signals;

    (void)sigemptyset(&children);
    (void)sigaddset(&children, SIGCHLD);
    signals = signalfd(-1, &children, SFD_CLOEXEC);
    if (signals < 0)
        keeper_end_all(loop);
    reap(loop);
    for (;;) {
        struct pollfd waits[] = {{.fd = signals, .events = POLLIN},
                                 {.fd = loop->socket, .events = POLLIN},
                                 {.fd = loop->master, .events = POLLIN},
                                 {.fd = loop->pipe, .events = POLLIN}};

        if (poll(waits, 4, -1) < 0)
            continue;
        if (waits[2].revents)
            (void)relay(loop, &loop->master);
        if (waits[3].revents)
            (void)relay(loop, &loop->pipe);
        if (waits[0].revents) {
            (void)!read(signals, &information, sizeof information);
            reap(loop);
        }
        if (waits[1].revents)
            handle_message(loop);
    }
}
