/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stasis-root ERROR_FD COMMAND…: the root of a workload's process tree, so that the whole tree can
 * be saved. It starts the command in a session of its own, adopts and reaps whatever the command
 * leaves behind (daemons that fork twice), passes on signals that ask for an end, and ends with the
 * command's status when nothing of the tree is left.
 *
 * It is part of every snapshot, so it is static, small, and lives in the workload's own tmpfs.
 * When the command can't be executed, errno goes to ERROR_FD, else ERROR_FD is closed by exec.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Passed on to the command. */
static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

enum { FORWARDED = sizeof forwarded / sizeof forwarded[0] };

_Noreturn static void become_command(char **command, int error_fd)
{
    sigset_t none;
    int number;

    (void)setsid();
    if (isatty(STDIN_FILENO))
        (void)ioctl(STDIN_FILENO, TIOCSCTTY, 0);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execvp(command[0], command);
    number = errno;
    (void)!write(error_fd, &number, sizeof number);
    _exit(127);
}

/* The root keeps nothing open that the command may want closed. */
static void let_go_of_stdio(void)
{
    int null = open("/dev/null", O_RDWR);

    for (int fd = 0; fd <= 2; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
}

static int status_of(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

/* To the command; when that has ended and left others behind, to all of them (this process is in a
 * pid namespace of the workload's own, whose other processes are the workload). */
static void pass_on(pid_t command, int number)
{
    if (command > 0)
        (void)kill(command, number);
    else
        (void)kill(-1, number);
}

/* A restore gives daemons whose session leader has ended to process 1 instead of us: they are the
 * workload all the same, so it has not ended. */
static int others_live(void)
{
    return kill(-1, 0) == 0;
}

/* Reaps what has ended; -1 when no child is left. */
static int reap(pid_t *command, int *command_status)
{
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid == 0)
            return 0;
        if (pid < 0)
            return errno == EINTR ? 0 : -1;
        if (pid == *command) {
            *command_status = status_of(status);
            *command = -1;
        }
    }
}

/* A plain decimal number, ours; this program has no library of ours in it. */
static int parse_fd(const char *text)
{
    int value = 0;

    for (; *text >= '0' && *text <= '9' && value < 100000; text++)
        value = value * 10 + (*text - '0');
    return value;
}

int main(int argc, char **argv)
{
    /* Ends of our own children wake us; of others (see others_live) we have to look. */
    const struct timespec patience = {.tv_sec = 1};
    int error_fd, status = 0;
    sigset_t waited;
    pid_t command;

    if (argc < 3)
        return 127;
    error_fd = parse_fd(argv[1]);
    (void)fcntl(error_fd, F_SETFD, FD_CLOEXEC);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)sigemptyset(&waited);
    (void)sigaddset(&waited, SIGCHLD);
    for (int i = 0; i < FORWARDED; i++)
        (void)sigaddset(&waited, forwarded[i]);
    (void)sigprocmask(SIG_BLOCK, &waited, NULL);

    command = fork();
    if (command < 0)
        return 126;
    if (command == 0)
        become_command(argv + 2, error_fd);
    (void)close(error_fd);
    let_go_of_stdio();
    while (reap(&command, &status) == 0 || others_live()) {
        int number = sigtimedwait(&waited, NULL, &patience);

        if (number > 0 && number != SIGCHLD)
            pass_on(command, number);
    }
    return status;
}
