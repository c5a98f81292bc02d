/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static unsigned char scratch[65536];

int connection_put(const struct connection *pair, uint64_t n)
{
    pattern_fill(scratch, pair->in_flight, n);
    PASS_ON(write_full(pair->a, scratch, pair->in_flight));
    pattern_fill(scratch, pair->in_flight / 2, n + 1000);
    return write_full(pair->b, scratch, pair->in_flight / 2);
}

int connection_take(const struct connection *pair, uint64_t n)
{
    PASS_ON(read_full(pair->b, scratch, pair->in_flight));
    PASS_ON(pattern_verify("bytes one way", scratch, pair->in_flight, n));
    PASS_ON(read_full(pair->a, scratch, pair->in_flight / 2));
    PASS_ON(pattern_verify("bytes the other way", scratch, pair->in_flight / 2, n + 1000));
    PASS_ON(expect_quiet(pair->a, "emptied connection"));
    return expect_quiet(pair->b, "emptied connection");
}

int messages_put(int from, unsigned int count, uint64_t n)
{
    for (unsigned int i = 0; i < count; i++) {
        size_t size = 300 + 7 * (size_t)i;
        ssize_t sent;

        pattern_fill(scratch, size, n + i);
        MUST(sent = send(from, scratch, size, MSG_NOSIGNAL), "send");
        EQUAL("size of a sent message", size, sent);
    }
    return 0;
}

int messages_take(int to, unsigned int count, uint64_t n)
{
    for (unsigned int i = 0; i < count; i++) {
        size_t size = 300 + 7 * (size_t)i;
        ssize_t got;

        PASS_ON(wait_for(to, POLLIN, "a message"));
        MUST(got = recv(to, scratch, sizeof(scratch), 0), "recv");
        EQUAL("size of a message", size, got);
        PASS_ON(pattern_verify("message", scratch, size, n + i));
    }
    return expect_quiet(to, "emptied queue");
}

struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) < sizeof(address.sun_path))
        memcpy(address.sun_path, path, strlen(path));
    return address;
}

struct sockaddr_un abstract_address(const char *name, socklen_t *ret_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strnlen(name, sizeof(address.sun_path) - 1);

    memcpy(address.sun_path + 1, name, length);
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    return address;
}

int loopback_socket(int type, struct sockaddr_in *ret_address)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int fd;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MUST(fd = socket(AF_INET, type, 0), "socket");
    MUST(bind(fd, (struct sockaddr *)&address, sizeof(address)), "bind");
    MUST(getsockname(fd, (struct sockaddr *)&address, &size), "getsockname");
    *ret_address = address;
    return fd;
}

int loopback_listener(struct sockaddr_in *ret_address)
{
    int fd = loopback_socket(SOCK_STREAM | SOCK_CLOEXEC, ret_address);

    PASS_ON(fd);
    MUST(listen(fd, 17), "listen");
    return fd;
}

int connect_socket(int family, int type, const void *address, socklen_t size)
{
    int fd;

    MUST(fd = socket(family, type, 0), "socket");
    MUST(connect(fd, address, size), "connect");
    return fd;
}

int get_option(int fd, int level, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);

    if (getsockopt(fd, level, option, &value, &size) < 0)
        return -errno;
    return value;
}
