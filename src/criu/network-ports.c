/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/network-ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/cleanup.h"

union any_address {
    struct sockaddr plain;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t fill_address(const struct port_request *request, uint16_t port,
                              union any_address *ret)
{
    *ret = (union any_address){0};
    if (network_address_is_ipv4(&request->address)) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(port);
        memcpy(&ret->v4.sin_addr, request->address.bytes + 12, sizeof ret->v4.sin_addr);
        return sizeof ret->v4;
    }
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = htons(port);
    memcpy(&ret->v6.sin6_addr, request->address.bytes, sizeof ret->v6.sin6_addr);
    return sizeof ret->v6;
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

/*
 * An exact one is bound as the program has bound it, except that old connections of a TCP port are
 * no obstacle; a held one so that nobody else has the port. CRIU itself would not notice a taken
 * port: it sets SO_REUSEPORT for a while, which the kernel remembers of a port that was restored
 * before.
 */
static int set_options(int fd, const struct port_request *request)
{
    int r = 0;

    if (!network_address_is_ipv4(&request->address))
        r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, request->v6_only);
    if (r == 0 && request->exact && (request->type == SOCK_STREAM || request->reuse_address))
        r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0 && request->exact && request->reuse_port)
        r = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    return r;
}

static int bind_port(const struct port_request *request, uint16_t port, int *ret_fd)
{
    CLEANUP(close_fd) int fd = -1;
    union any_address address;
    socklen_t length = fill_address(request, port, &address);
    int r;

    fd = socket(address.plain.sa_family, request->type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = set_options(fd, request);
    if (r == 0 && bind(fd, &address.plain, length) < 0)
        r = -errno;
    /* From here on CRIU can bind to it, too. */
    if (r == 0)
        r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0)
        *ret_fd = steal_fd(&fd);
    return r;
}

static int read_port(int fd, uint16_t *ret_port)
{
    union any_address address = {0};
    socklen_t length = sizeof address;

    if (getsockname(fd, &address.plain, &length) < 0)
        return -errno;
    *ret_port =
        ntohs(address.plain.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    return 0;
}

static int keep(struct port_keeper *keeper, int *fd)
{
    if ((keeper->count & (keeper->count - 1)) == 0) {
        size_t capacity = keeper->count ? 2 * keeper->count : 1;
        int *grown = realloc(keeper->sockets, capacity * sizeof *grown);

        if (!grown)
            return -ENOMEM;
        keeper->sockets = grown;
    }
    keeper->sockets[keeper->count++] = steal_fd(fd);
    return 0;
}

int port_keeper_reserve(const struct port_request *request, uint16_t *ret_port, void *context)
{
    CLEANUP(close_fd) int fd = -1;
    uint16_t port = 0;
    int r = bind_port(request, request->port, &fd);

    if (request->exact) {
        if (r == 0)
            *ret_port = request->port;
        return r;
    }
    if (r == -EADDRINUSE && request->port)
        r = bind_port(request, 0, &fd);
    if (r == 0)
        r = read_port(fd, &port);
    if (r == 0)
        r = keep(context, &fd);
    if (r == 0)
        *ret_port = port;
    return r;
}

void port_keeper_done(struct port_keeper *keeper)
{
    for (size_t i = 0; i < keeper->count; i++)
        close_fd(&keeper->sockets[i]);
    free(keeper->sockets);
    *keeper = PORT_KEEPER_INIT;
}
