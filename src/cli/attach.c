/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

/* Signals that ask for something are for the workload. */
static const int passed_on[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
                                SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH};

/* Shows what is new in the log. */
static void show_news(int log)
{
    char piece[65536];
    ssize_t n;

    while ((n = read(log, piece, sizeof piece)) > 0) {
        if (file_write_all(STDOUT_FILENO, piece, (size_t)n) < 0)
            return;
    }
}

static int catch_signals(void)
{
    sigset_t caught;

    (void)sigemptyset(&caught);
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
        (void)sigaddset(&caught, passed_on[i]);
    (void)sigprocmask(SIG_BLOCK, &caught, NULL);
    return signalfd(-1, &caught, SFD_CLOEXEC);
}

static void pass_size_on(struct keeper *keeper)
{
    struct winsize size;

    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        (void)keeper_resize(keeper, &size);
}

/* What a terminal's key asks for is for the whole job, what somebody sends is for the command. */
static void pass_signal_on(int signals, struct keeper *keeper, const struct workload *workload)
{
    struct signalfd_siginfo information;
    bool from_key;

    if (read(signals, &information, sizeof information) != sizeof information)
        return;
    if (information.ssi_signo == SIGWINCH && text_equal(workload->stdio, "pty")) {
        pass_size_on(keeper);
        return;
    }
    from_key = information.ssi_code == SI_KERNEL;
    if (workload->main > 0 && (!from_key || kill(-workload->main, (int)information.ssi_signo) < 0))
        (void)kill(workload->main, (int)information.ssi_signo);
}

/* Whoever writes to our output after us goes on behind what the workload has written. */
static void go_to_end(void)
{
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        (void)lseek(fd, 0, SEEK_END);
}

static struct termios original_terminal;

static void restore_terminal(void)
{
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &original_terminal);
}

/* The workload's terminal does the editing and the echo, not ours. */
static void make_terminal_raw(void)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &original_terminal) < 0)
        return;
    raw = original_terminal;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0)
        (void)atexit(restore_terminal);
}

/* False when there is no more input. */
static bool pass_input_on(struct keeper *keeper)
{
    char piece[2048];
    ssize_t n = read(STDIN_FILENO, piece, sizeof piece);

    return n > 0 && keeper_input(keeper, piece, (size_t)n) == 0;
}

static void serve(const struct workload *workload, struct keeper *keeper, int log)
{
    CLEANUP(close_fd) int signals = catch_signals();
    CLEANUP(close_fd) int changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    CLEANUP(free_ptr) char *path = fd_path(log);
    bool input = text_equal(workload->stdio, "pty");
    char events[4096];

    if (path && changes >= 0)
        (void)inotify_add_watch(changes, path, IN_MODIFY);
    if (input && isatty(STDIN_FILENO)) {
        make_terminal_raw();
        pass_size_on(keeper);
    }
    show_news(log); /* written before anybody watched */
    for (;;) {
        struct pollfd waits[] = {{.fd = keeper->process, .events = POLLIN},
                                 {.fd = changes, .events = POLLIN},
                                 {.fd = signals, .events = POLLIN},
                                 {.fd = input ? STDIN_FILENO : -1, .events = POLLIN}};

        (void)poll(waits, 4, -1);
        (void)!read(changes, events, sizeof events);
        show_news(log);
        if (waits[2].revents)
            pass_signal_on(signals, keeper, workload);
        if (waits[3].revents)
            input = pass_input_on(keeper);
        if (waits[0].revents)
            return;
    }
}

static int conclude(const char *root, const struct workload *workload, struct error *error)
{
    struct workload last = WORKLOAD_INIT;
    int status = 0, r;

    if (workload_load(root, workload->name, &last, NULL) == 0 && last.saved) {
        (void)fprintf(stderr,
                      "%s was saved as %s and has ended; `snapshotctl restore %s` goes on\n",
                      workload->name, last.saved, last.saved);
        workload_done(&last);
        return 0;
    }
    workload_done(&last);
    r = workload_exit_status(root, workload->name, &status, error);
    return r < 0 ? r : status;
}

int attach(const char *root, const struct workload *workload, struct keeper *keeper,
           const char *log, long from, struct error *error)
{
    CLEANUP(close_fd) int fd = open(log, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return error_set(error, "system", errno, "Can't open %s", log);
    (void)lseek(fd, from, SEEK_SET);
    serve(workload, keeper, fd);
    show_news(fd);
    if (text_equal(workload->stdio, "inherit"))
        go_to_end();
    (void)waitpid(keeper->pid, NULL, 0);
    return conclude(root, workload, error);
}

int follow_log(const char *root, const char *name, const char *log, bool follow,
               struct error *error)
{
    CLEANUP(close_fd) int fd = open(log, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return error_set(error, errno == ENOENT ? "workload-missing" : "system", errno,
                         "Can't open the log of %s", name);
    do {
        bool alive = follow && workload_alive(root, name);

        show_news(fd);
        if (!alive)
            break;
        (void)poll(NULL, 0, 100);
    } while (true);
    return 0;
}
