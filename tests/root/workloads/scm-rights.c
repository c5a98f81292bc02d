/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors sent over a socket pair and not received yet. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sockets.h"

static int pair[2];
static int pipe_reader;

/* The only write end of the pipe is the one in flight. */
static int send_pipe(uint64_t n)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct iovec data = {.iov_base = &n, .iov_len = sizeof(n)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int fds[2];

    MUST(pipe2(fds, O_CLOEXEC), "pipe2");
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fds[1], sizeof(int));
    MUST(sendmsg(pair[0], &message, MSG_NOSIGNAL), "sendmsg");
    (void)close(fds[1]);
    pipe_reader = fds[0];
    return 0;
}

static int receive_fd(uint64_t n)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    uint64_t seen = 0;
    struct iovec data = {.iov_base = &seen, .iov_len = sizeof(seen)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header;
    int fd;

    MUST(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT), "recvmsg");
    EQUAL("data beside the descriptor", n, seen);
    header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS)
        return fail("expected a descriptor with the message, seen none");
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

static int setup(void)
{
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    return send_pipe(0);
}

static int check(uint64_t n)
{
    uint64_t seen = 0;
    int writer;

    PASS_ON(writer = receive_fd(n - 1));
    PASS_ON(write_full(writer, &n, sizeof(n)));
    PASS_ON(read_full(pipe_reader, &seen, sizeof(seen)));
    EQUAL("number through the pipe", n, seen);
    (void)close(writer);
    (void)close(pipe_reader);
    return send_pipe(n);
}

const struct workload_kind kind_scm_rights = {
    .name = "scm-rights",
    .description = "descriptor in flight on a socket pair (SCM_RIGHTS)",
    .setup = setup,
    .check = check,
};
