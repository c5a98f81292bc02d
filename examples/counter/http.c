/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* accept4 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int http_listen(unsigned *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)*port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;

    if (listener < 0)
        return -1;
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 16) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
        int saved = errno;

        (void)close(listener);
        errno = saved;
        return -1;
    }
    *port = ntohs(address.sin_port);
    return listener;
}

static void write_all(int connection, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = send(connection, data, length, MSG_NOSIGNAL);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        data += written;
        length -= (size_t)written;
    }
}

/* Reads until the empty line that ends a request; false when the other side gives up. */
static int read_request(int connection, char *request, size_t size)
{
    size_t length = 0;

    while (length + 1 < size) {
        ssize_t got = recv(connection, request + length, size - 1 - length, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        length += (size_t)got;
        request[length] = '\0';
        if (strstr(request, "\r\n\r\n"))
            return 1;
    }
    return 0;
}

static void answer(int connection, http_handler *handler, void *context)
{
    char request[2048], path[256], body[2048] = "", head[256];
    int status, length;

    if (!read_request(connection, request, sizeof request) ||
        sscanf(request, "GET %255s HTTP/", path) != 1)
        return;
    status = handler(path, body, sizeof body, context);
    length = snprintf(head, sizeof head,
                      "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
                      "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                      status, status == 200 ? "OK" : "Error", strlen(body));
    write_all(connection, head, (size_t)length);
    write_all(connection, body, strlen(body));
}

void http_serve(int listener, http_handler *handler, void *context)
{
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (connection < 0) {
            if (errno != EINTR && errno != ECONNABORTED)
                (void)usleep(10000); /* out of descriptors or memory: that may pass */
            continue;
        }
        answer(connection, handler, context);
        (void)close(connection);
    }
}
