/* SPDX-License-Identifier: Apache-2.0 */
#include "nsrestore/reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"

enum { LET_GO = '.', HIGH_FD = 300, END_PATIENCE_MSEC = 10000 };

/* Numbers in here are of the target's pid namespace, in which the reaper is. */
enum { LINE = 3, SIGNALS, CHILDREN, FIRST_OTHER };

/* Whether CRIU has ended, and badly. Its number is none any more then. Nothing else is reaped here:
 * when the first restored process has ended already, the target is the one to learn how. */
static bool reap_criu(pid_t *criu)
{
    struct signalfd_siginfo information;
    int status = 0;

    (void)!read(SIGNALS, &information, sizeof information);
    if (*criu <= 0 || waitpid(*criu, &status, WNOHANG) != *criu)
        return false;
    *criu = 0;
    return status != 0;
}

/* Who asked for the restore has had CRIU's answer before CRIU itself is gone. What it has restored
 * is not waited for: that is for the target's first process. */
static void see_the_end_of(pid_t criu)
{
    uint64_t deadline = clock_now_usec() + (uint64_t)END_PATIENCE_MSEC * 1000;

    while (criu > 0 && waitpid(criu, NULL, WNOHANG) == 0 && clock_now_usec() < deadline)
        clock_sleep_msec(1);
}

/* Returns whether it was let go; else all that came of CRIU has to end. */
static bool wait_for_word(pid_t *criu)
{
    struct pollfd waits[] = {{.fd = LINE, .events = POLLIN}, {.fd = SIGNALS, .events = POLLIN}};

    for (;;) {
        if (poll(waits, 2, -1) < 0 && errno != EINTR)
            return false;
        if (waits[0].revents) {
            char word = 0;

            return read(LINE, &word, 1) == 1 && word == LET_GO;
        }
        if (waits[1].revents && reap_criu(criu))
            return false;
    }
}

/* Children of what is killed here become ours. The first process of a pid namespace takes all of it
 * along. */
static void kill_children(void)
{
    char text[4096];
    ssize_t length = pread(CHILDREN, text, sizeof text - 1, 0);
    char *cursor = text;

    text[length > 0 ? length : 0] = 0;
    for (;;) {
        char *end = cursor;
        long pid = strtol(cursor, &end, 10);

        if (end == cursor || pid <= 1)
            break;
        (void)kill((pid_t)pid, SIGKILL);
        cursor = end;
    }
}

static void end_all(pid_t criu)
{
    pid_t pid;

    if (criu > 0)
        (void)kill(criu, SIGKILL);
    for (;;) {
        kill_children();
        pid = waitpid(-1, NULL, 0);
        if (pid < 0 && errno != EINTR)
            break;
    }
}

_Noreturn static void be_the_reaper(const struct criu_launch *launch, int carrier, int line)
{
    sigset_t child;
    int signals, children;
    pid_t criu;

    (void)prctl(PR_SET_NAME, "stasis-reaper");
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &child, NULL);
    signals = signalfd(-1, &child, SFD_CLOEXEC);
    /* Before another /proc hides the target's. */
    children = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    if (signals < 0 || criu_start_here(launch, carrier, &criu, NULL) < 0)
        _exit(127);
    /* CRIU has all that it needs; nobody must find an end of a socket open that is only here. */
    line = fd_duplicate(line, HIGH_FD);
    signals = fd_duplicate(signals, HIGH_FD);
    children = fd_duplicate(children, HIGH_FD);
    (void)dup3(line, LINE, O_CLOEXEC);
    (void)dup3(signals, SIGNALS, O_CLOEXEC);
    (void)dup3(children, CHILDREN, O_CLOEXEC);
    (void)close_range(FIRST_OTHER, ~0U, 0);
    if (wait_for_word(&criu))
        see_the_end_of(criu);
    else
        end_all(criu);
    _exit(0);
}

int reaper_start(const struct criu_launch *launch, int carrier, struct reaper *ret_reaper,
                 struct error *error)
{
    int pair[2];
    pid_t pid;

    if (pipe2(pair, O_CLOEXEC) < 0)
        return error_set(error, "system", errno, "Can't make a pipe");
    pid = fork();
    if (pid == 0) {
        (void)close(pair[1]);
        be_the_reaper(launch, carrier, pair[0]);
    }
    (void)close(pair[0]);
    if (pid < 0) {
        (void)close(pair[1]);
        return error_set(error, "criu-start", errno, "Can't start a process for CRIU");
    }
    *ret_reaper = (struct reaper){.pid = pid, .line = pair[1]};
    return 0;
}

void reaper_let_go(struct reaper *reaper)
{
    char word = LET_GO;

    if (reaper->line >= 0)
        (void)!write(reaper->line, &word, 1);
    reaper_finish(reaper);
}

void reaper_finish(struct reaper *reaper)
{
    close_fd(&reaper->line);
    while (reaper->pid > 0 && waitpid(reaper->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    *reaper = REAPER_INIT;
}
