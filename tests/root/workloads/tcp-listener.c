/* SPDX-License-Identifier: Apache-2.0 */
/* A listening TCP socket: address, backlog, options; new connections get through. */
#include <netinet/tcp.h>
#include <unistd.h>

#include "sockets.h"

static int listener;
static struct sockaddr_in address;

static int setup(void)
{
    int seconds = 3;
    int on = 1;

    PASS_ON(listener = loopback_listener(&address));
    MUST(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)),
         "TCP_DEFER_ACCEPT");
    MUST(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "SO_REUSEADDR");
    return 0;
}

static int check(uint64_t n)
{
    struct sockaddr_in seen;
    socklen_t size = sizeof(seen);
    struct connection pair = {.in_flight = 4000};

    MUST(getsockname(listener, (struct sockaddr *)&seen, &size), "getsockname");
    EQUAL("port", ntohs(address.sin_port), ntohs(seen.sin_port));
    EQUAL("SO_ACCEPTCONN", 1, get_option(listener, SOL_SOCKET, SO_ACCEPTCONN));
    EQUAL("SO_REUSEADDR", 1, get_option(listener, SOL_SOCKET, SO_REUSEADDR));
    pair.a = connect_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, &address, sizeof(address));
    PASS_ON(pair.a);
    /* Something must be sent first, the listener defers connections without data. */
    PASS_ON(write_full(pair.a, &n, sizeof(n)));
    MUST(pair.b = accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    PASS_ON(read_full(pair.b, &n, sizeof(n)));
    PASS_ON(connection_put(&pair, n));
    PASS_ON(connection_take(&pair, n));
    (void)close(pair.a);
    (void)close(pair.b);
    return 0;
}

const struct workload_kind kind_tcp_listener = {
    .name = "tcp-listener",
    .description = "listening TCP socket",
    .flags = KIND_UNIQUE,
    .setup = setup,
    .check = check,
};
