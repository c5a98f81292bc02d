/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/plugin/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TICK_MSEC = 50 };

static int channel = -1;
static unsigned deadline_msec;

int channel_open(void)
{
    const char *text = getenv(PLUGIN_SOCKET_VARIABLE);
    int type = 0;
    socklen_t length = sizeof type;
    char *end;
    long number;

    if (!text || !*text)
        return 0;
    number = strtol(text, &end, 10);
    if (*end || number < 0 || number > 1 << 20)
        return -EINVAL;
    if (getsockopt((int)number, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_SEQPACKET)
        return -EBADF;
    (void)fcntl((int)number, F_SETFD, FD_CLOEXEC);
    channel = (int)number;
    return 1;
}

void channel_close(void)
{
    if (channel >= 0)
        (void)close(channel);
    channel = -1;
}

bool channel_is_open(void)
{
    return channel >= 0;
}

void channel_set_deadline(unsigned msec)
{
    deadline_msec = msec;
}

static int request_send(const struct plugin_request *request, pid_t pid)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct iovec vector = {.iov_base = (void *)(uintptr_t)request, .iov_len = sizeof *request};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    int pidfd = -1, result = 0;

    if (pid > 0) {
        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0)
            return -errno;
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &pidfd, sizeof pidfd);
    }
    while (sendmsg(channel, &message, MSG_NOSIGNAL) < 0) {
        if (errno == EINTR)
            continue;
        result = -errno;
        break;
    }
    if (pidfd >= 0)
        (void)close(pidfd);
    return result;
}

static int reply_receive(struct plugin_reply *reply, int (*idle)(void *), void *context)
{
    unsigned waited = 0;

    for (;;) {
        struct pollfd poll_fd = {.fd = channel, .events = POLLIN};
        int ready = poll(&poll_fd, 1, TICK_MSEC), result;
        ssize_t received;

        if (ready > 0) {
            received = recv(channel, reply, sizeof *reply, MSG_DONTWAIT);
            if (received == (ssize_t)sizeof *reply)
                return 0;
            if (received >= 0 || (errno != EAGAIN && errno != EINTR))
                return -EPIPE;
        }
        waited += TICK_MSEC;
        if (deadline_msec && waited >= deadline_msec)
            return -ETIME;
        result = idle ? idle(context) : 0;
        if (result < 0)
            return result;
    }
}

int channel_ask(struct plugin_request *request, pid_t pid, int (*idle)(void *), void *context,
                struct plugin_reply *reply)
{
    int result;

    memset(reply, 0, sizeof *reply);
    if (channel < 0)
        result = -EPIPE;
    else {
        request->version = PLUGIN_PROTOCOL_VERSION;
        result = request_send(request, pid);
        if (result == 0)
            result = reply_receive(reply, idle, context);
    }
    if (result == 0) {
        reply->text[sizeof reply->text - 1] = '\0';
        return reply->result;
    }
    (void)snprintf(reply->text, sizeof reply->text, "no answer from the CUDA worker (%s)",
                   result == -EPIPE ? "it is gone" : strerror(-result));
    /* An answer that comes later would be taken for that to another question. */
    channel_close();
    return result;
}
