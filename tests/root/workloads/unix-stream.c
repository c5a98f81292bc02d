/* SPDX-License-Identifier: Apache-2.0 */
/* A listening unix socket with a path, and a connection made through it. */
#include <fcntl.h>
#include <unistd.h>

#include "sockets.h"

static struct {
    int listener;
    struct connection pair;
    struct sockaddr_un address;
} s;

static int open_pair(struct connection *pair)
{
    MUST(pair->a =
             connect_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, &s.address, sizeof(s.address)),
         "connect");
    MUST(pair->b = accept4(s.listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    pair->in_flight = 20000;
    return 0;
}

static int setup(void)
{
    s.address = unix_address(own_path("socket").text);
    MUST(s.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    MUST(bind(s.listener, (struct sockaddr *)&s.address, sizeof(s.address)), "bind");
    MUST(listen(s.listener, 9), "listen");
    PASS_ON(open_pair(&s.pair));
    return connection_put(&s.pair, 0);
}

/* The listener still answers at its path. */
static int check_new_connection(uint64_t n)
{
    struct connection fresh;

    PASS_ON(open_pair(&fresh));
    PASS_ON(connection_put(&fresh, n));
    PASS_ON(connection_take(&fresh, n));
    (void)close(fresh.a);
    (void)close(fresh.b);
    return 0;
}

static int check(uint64_t n)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof(peer);

    PASS_ON(connection_take(&s.pair, n - 1));
    EQUAL("SO_ACCEPTCONN", 1, get_option(s.listener, SOL_SOCKET, SO_ACCEPTCONN));
    MUST(getsockopt(s.pair.a, SOL_SOCKET, SO_PEERCRED, &peer, &size), "SO_PEERCRED");
    EQUAL("uid of the peer", getuid(), peer.uid);
    PASS_ON(check_new_connection(n));
    return connection_put(&s.pair, n);
}

const struct workload_kind kind_unix_stream = {
    .name = "unix-stream",
    .description = "listening unix socket with a path, and a connection inside",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
