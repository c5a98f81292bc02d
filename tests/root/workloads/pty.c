/* SPDX-License-Identifier: Apache-2.0 */
/* A pseudo-terminal: master here, slave as controlling terminal of a child's session. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "common.h"

static struct {
    int master;
    int slave; /* in the child */
    struct worker worker;
    char name[64];
} s;

static int become_session_leader(void)
{
    MUST(setsid(), "setsid");
    MUST(s.slave = open(s.name, O_RDWR | O_CLOEXEC), "open of the slave");
    /* A leader without a terminal gets the first one that it opens. */
    (void)close(s.master);
    return 0;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    uint64_t seen = 0;

    (void)arg;
    if (question == 0)
        return become_session_leader();
    EQUAL("session of the terminal", getpid(), tcgetsid(s.slave));
    EQUAL("foreground group", getpgrp(), tcgetpgrp(s.slave));
    PASS_ON(read_full(s.slave, &seen, sizeof(seen)));
    EQUAL("number typed", question, seen);
    *answer = seen + 1;
    return write_full(s.slave, answer, sizeof(*answer));
}

static int set_modes(void)
{
    struct termios modes;
    struct winsize size = {.ws_row = 31, .ws_col = 77};

    MUST(tcgetattr(s.master, &modes), "tcgetattr");
    cfmakeraw(&modes);
    modes.c_cc[VQUIT] = 'q';
    MUST(tcsetattr(s.master, TCSANOW, &modes), "tcsetattr");
    MUST(ioctl(s.master, TIOCSWINSZ, &size), "TIOCSWINSZ");
    return 0;
}

static int setup(void)
{
    MUST(s.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "posix_openpt");
    MUST(grantpt(s.master), "grantpt");
    MUST(unlockpt(s.master), "unlockpt");
    if (ptsname_r(s.master, s.name, sizeof(s.name)) != 0)
        return fail_errno("ptsname_r");
    PASS_ON(set_modes());
    PASS_ON(worker_start(&s.worker, serve, NULL));
    return worker_expect(&s.worker, "start", 0, 0);
}

static int check_modes(uint64_t n)
{
    struct termios modes;
    struct winsize size = {.ws_row = 0};

    MUST(tcgetattr(s.master, &modes), "tcgetattr");
    EQUAL("echo", 0, modes.c_lflag & (ECHO | ICANON));
    EQUAL("quit character", 'q', modes.c_cc[VQUIT]);
    MUST(ioctl(s.master, TIOCGWINSZ, &size), "TIOCGWINSZ");
    EQUAL("rows", 31, size.ws_row);
    EQUAL("columns", 77 + n - 1, size.ws_col);
    size.ws_col++;
    MUST(ioctl(s.master, TIOCSWINSZ, &size), "TIOCSWINSZ");
    return 0;
}

static int check(uint64_t n)
{
    char name[64] = "";
    uint64_t seen = 0;

    PASS_ON(check_modes(n));
    (void)ptsname_r(s.master, name, sizeof(name));
    EQUAL("same name of the slave", 0, strcmp(name, s.name));
    PASS_ON(write_full(s.master, &n, sizeof(n)));
    PASS_ON(worker_expect(&s.worker, "child at the terminal", n, n + 1));
    PASS_ON(read_full(s.master, &seen, sizeof(seen)));
    EQUAL("number written by the child", n + 1, seen);
    return 0;
}

const struct workload_kind kind_pty = {
    .name = "pty",
    .description = "pseudo-terminal, controlling terminal of a child",
    .flags = KIND_UNIQUE,
    .setup = setup,
    .check = check,
};
