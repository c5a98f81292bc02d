/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/keeper-message.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/catalogue.h"

static int send_message(int socket, const struct keeper_message *message)
{
    size_t length = offsetof(struct keeper_message, text) + message->length;

    return send(socket, message, length, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int keeper_send_begun(int socket, const struct keeper_begun *begun)
{
    struct keeper_message message = {
        .type = KEEPER_BEGUN, .root = begun->root, .main = begun->main};

    return send_message(socket, &message);
}

void keeper_send_failed(int socket, const struct error *error)
{
    struct keeper_message message = {.type = KEEPER_FAILED, .number = error->number};

    (void)snprintf(message.code, sizeof message.code, "%s", error->code ? error->code : "system");
    (void)snprintf(message.text, sizeof message.text, "%s", error->message ? error->message : "");
    message.length = strlen(message.text);
    (void)send_message(socket, &message);
}

int keeper_send_release(int socket, pid_t root)
{
    struct keeper_message message = {.type = KEEPER_RELEASE, .root = root};

    return send_message(socket, &message);
}

int keeper_send_released(int socket)
{
    struct keeper_message message = {.type = KEEPER_RELEASED};

    return send_message(socket, &message);
}

int keeper_send_size(int socket, const void *size, size_t length)
{
    struct keeper_message message = {.type = KEEPER_SIZE, .length = length};

    memcpy(message.text, size, length);
    return send_message(socket, &message);
}

int keeper_send_input(int socket, const void *data, size_t length)
{
    const char *next = data;

    while (length > 0) {
        struct keeper_message message = {.type = KEEPER_INPUT};
        int r;

        message.length = length < sizeof message.text ? length : sizeof message.text;
        memcpy(message.text, next, message.length);
        r = send_message(socket, &message);
        if (r < 0)
            return r;
        next += message.length;
        length -= message.length;
    }
    return 0;
}

int keeper_receive(int socket, struct keeper_message *ret_message)
{
    ssize_t n;

    do {
        n = recv(socket, ret_message, sizeof *ret_message, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (n == 0)
        return 0;
    if ((size_t)n < offsetof(struct keeper_message, text))
        return -EBADMSG;
    ret_message->length = (size_t)n - offsetof(struct keeper_message, text);
    return 1;
}

/* Codes travel as text and come back as the catalogue's own string. */
static int adopt_failure(struct keeper_message *message, struct error *error)
{
    const struct catalogue_entry *entry;
    int r;

    message->code[sizeof message->code - 1] = 0;
    entry = catalogue_find(message->code);
    r = error_set(error, entry ? entry->code : "system", 0, "%.*s", (int)message->length,
                  message->text);
    if (error)
        error->number = message->number;
    return message->number ? -message->number : r;
}

int keeper_receive_begun(int socket, struct keeper_begun *ret_begun, struct error *error)
{
    struct keeper_message message;
    int r = keeper_receive(socket, &message);

    if (r <= 0)
        return error_set(error, "workload-died", r < 0 ? r : ECONNRESET,
                         "The workload's keeper ended before the workload was started");
    if (message.type == KEEPER_FAILED)
        return adopt_failure(&message, error);
    *ret_begun = (struct keeper_begun){.root = message.root, .main = message.main};
    return 0;
}

int keeper_receive_released(int socket)
{
    struct keeper_message message;
    int r = keeper_receive(socket, &message);

    if (r < 0)
        return r;
    return r > 0 && message.type == KEEPER_RELEASED ? 0 : -ECONNRESET;
}
