/* SPDX-License-Identifier: Apache-2.0 */
/* A listener with an abstract name. */
#include <unistd.h>

#include "sockets.h"

static struct {
    int listener;
    struct connection pair;
    struct sockaddr_un address;
    socklen_t size;
} s;

static int open_pair(struct connection *pair)
{
    pair->a = connect_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, &s.address, s.size);
    PASS_ON(pair->a);
    MUST(pair->b = accept4(s.listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    pair->in_flight = 5000;
    return 0;
}

static int setup(void)
{
    s.address = abstract_address(unique_name("").text, &s.size);
    MUST(s.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    MUST(bind(s.listener, (struct sockaddr *)&s.address, s.size), "bind");
    MUST(listen(s.listener, 5), "listen");
    PASS_ON(open_pair(&s.pair));
    return connection_put(&s.pair, 0);
}

static int check(uint64_t n)
{
    struct sockaddr_un seen;
    socklen_t size = sizeof(seen);
    struct connection fresh;

    PASS_ON(connection_take(&s.pair, n - 1));
    MUST(getsockname(s.listener, (struct sockaddr *)&seen, &size), "getsockname");
    EQUAL("length of the name", s.size, size);
    PASS_ON(open_pair(&fresh));
    (void)close(fresh.a);
    (void)close(fresh.b);
    return connection_put(&s.pair, n);
}

const struct workload_kind kind_unix_abstract = {
    .name = "unix-abstract",
    .description = "listening unix socket with an abstract name, and a connection inside",
    .flags = KIND_UNIQUE,
    .setup = setup,
    .check = check,
};
