/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes with bytes in flight, of a changed size, and with one end gone. */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common.h"

enum { IN_FLIGHT = 40000, PIPE_SIZE = 131072 };

static struct {
    int bytes[2];
    int idle[2];
    int widowed;  /* read end with data, all write ends closed */
    int orphaned; /* write end, all read ends closed */
    unsigned char buffer[IN_FLIGHT];
} s;

static int put(uint64_t n)
{
    pattern_fill(s.buffer, IN_FLIGHT, n);
    return write_full(s.bytes[1], s.buffer, IN_FLIGHT);
}

static int take(uint64_t n)
{
    int pending = 0;

    MUST(ioctl(s.bytes[0], FIONREAD, &pending), "FIONREAD");
    EQUAL("bytes in the pipe", IN_FLIGHT, pending);
    PASS_ON(read_full(s.bytes[0], s.buffer, IN_FLIGHT));
    return pattern_verify("pipe", s.buffer, IN_FLIGHT, n);
}

static int check_lonely_ends(uint64_t n)
{
    int pending = 0;
    char byte = 0;

    MUST(ioctl(s.widowed, FIONREAD, &pending), "FIONREAD");
    EQUAL("bytes left without a writer", 1000 - (int)n + 1, pending);
    MUST(read(s.widowed, &byte, 1), "read");
    EQUAL("byte left without a writer", 'w', byte);
    EQUAL("write without a reader", -1, write(s.orphaned, "x", 1));
    EQUAL("errno of a write without a reader", EPIPE, errno);
    return 0;
}

static int setup(void)
{
    char letters[1000];
    int fds[2];

    (void)signal(SIGPIPE, SIG_IGN);
    MUST(pipe2(s.bytes, O_CLOEXEC), "pipe2");
    MUST(fcntl(s.bytes[1], F_SETPIPE_SZ, PIPE_SIZE), "F_SETPIPE_SZ");
    MUST(pipe2(s.idle, O_NONBLOCK), "pipe2");
    MUST(pipe2(fds, O_CLOEXEC), "pipe2");
    for (size_t i = 0; i < sizeof(letters); i++)
        letters[i] = 'w';
    PASS_ON(write_full(fds[1], letters, sizeof(letters)));
    (void)close(fds[1]);
    s.widowed = fds[0];
    MUST(pipe2(fds, O_CLOEXEC), "pipe2");
    (void)close(fds[0]);
    s.orphaned = fds[1];
    return put(0);
}

static int check(uint64_t n)
{
    EQUAL("size of the pipe", PIPE_SIZE, fcntl(s.bytes[0], F_GETPIPE_SZ));
    EQUAL("close-on-exec", FD_CLOEXEC, fcntl(s.bytes[0], F_GETFD));
    EQUAL("no close-on-exec", 0, fcntl(s.idle[0], F_GETFD));
    EQUAL("O_NONBLOCK", O_NONBLOCK, fcntl(s.idle[0], F_GETFL) & O_NONBLOCK);
    PASS_ON(take(n - 1));
    PASS_ON(expect_quiet(s.bytes[0], "emptied pipe"));
    PASS_ON(check_lonely_ends(n));
    return put(n);
}

const struct workload_kind kind_pipes = {
    .name = "pipes",
    .description = "pipes with data in flight, changed size, one end closed",
    .setup = setup,
    .check = check,
};
