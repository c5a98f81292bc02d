/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"

enum { PIECE = 65536 };

struct channel {
    int fd;
    struct loop_source *source;
    struct buffer input, output;
    size_t sent; /* of the output */
    channel_message_function *message;
    channel_end_function *end;
    void *context;
    bool over;
};

static void finish(struct channel *channel, int number, const char *what)
{
    struct error error = ERROR_INIT;

    if (channel->over)
        return;
    channel->over = true;
    loop_source_free(STEAL_PTR(channel->source));
    (void)error_set(&error, "agent-channel", number, "The agent's other part %s", what);
    channel->end(&error, channel->context);
    error_done(&error);
}

/* Gives on all complete lines; what is left stays. */
static void deliver(struct channel *channel)
{
    size_t start = 0;

    while (!channel->over && start < channel->input.length) {
        char *line = channel->input.data + start;
        const char *newline = memchr(line, '\n', channel->input.length - start);
        json_t *message;

        if (!newline)
            break;
        message = json_loadb(line, (size_t)(newline - line), 0, NULL);
        start += (size_t)(newline - line) + 1;
        if (json_is_object(message))
            channel->message(message, channel->context);
        else
            finish(channel, EBADMSG, "says what makes no sense");
        json_decref(message);
    }
    memmove(channel->input.data, channel->input.data + start, channel->input.length - start);
    channel->input.length -= start;
}

static void receive(struct channel *channel)
{
    char piece[PIECE];
    ssize_t length = recv(channel->fd, piece, sizeof piece, MSG_DONTWAIT);

    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        finish(channel, length < 0 ? errno : 0, "has ended");
        return;
    }
    if (buffer_append(&channel->input, piece, (size_t)length) < 0) {
        finish(channel, EMSGSIZE, "says too much");
        return;
    }
    deliver(channel);
}

static void flush(struct channel *channel)
{
    while (channel->sent < channel->output.length) {
        ssize_t length = send(channel->fd, channel->output.data + channel->sent,
                              channel->output.length - channel->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (length < 0 && errno == EAGAIN) {
            loop_source_events(channel->source, EPOLLIN | EPOLLOUT);
            return;
        }
        if (length < 0 && errno != EINTR) {
            finish(channel, errno, "does not listen");
            return;
        }
        channel->sent += length > 0 ? (size_t)length : 0;
    }
    buffer_done(&channel->output);
    channel->output = BUFFER_INIT(CHANNEL_MAXIMUM);
    channel->sent = 0;
    loop_source_events(channel->source, EPOLLIN);
}

static void on_event(struct loop_source *source, int fd, uint32_t events, void *context)
{
    struct channel *channel = context;

    (void)source;
    (void)fd;
    if (events & EPOLLOUT)
        flush(channel);
    if (!channel->over && events & ~(uint32_t)EPOLLOUT)
        receive(channel);
}

int channel_new(struct loop *loop, int fd, channel_message_function *message,
                channel_end_function *end, void *context, struct channel **ret, struct error *error)
{
    struct channel *channel = allocate(sizeof *channel);
    int r;

    *channel = (struct channel){.fd = fd,
                                .input = BUFFER_INIT(CHANNEL_MAXIMUM),
                                .output = BUFFER_INIT(CHANNEL_MAXIMUM),
                                .message = message,
                                .end = end,
                                .context = context};
    r = loop_add_fd(loop, fd, EPOLLIN, on_event, channel, &channel->source, error);
    if (r < 0) {
        channel_free(channel);
        return r;
    }
    *ret = channel;
    return 0;
}

void channel_send(struct channel *channel, json_t *message)
{
    CLEANUP(free_ptr) char *line = json_dumps(message, JSON_COMPACT);

    json_decref(message);
    if (channel->over || !line)
        return;
    if (buffer_append(&channel->output, line, strlen(line)) < 0 ||
        buffer_append(&channel->output, "\n", 1) < 0) {
        finish(channel, EMSGSIZE, "does not listen");
        return;
    }
    flush(channel);
}

void channel_free(struct channel *channel)
{
    if (!channel)
        return;
    loop_source_free(channel->source);
    close_fd(&channel->fd);
    buffer_done(&channel->input);
    buffer_done(&channel->output);
    free(channel);
}
