/* SPDX-License-Identifier: Apache-2.0 */
/* An established TCP connection with both ends inside and data on its way. */
#include <netinet/tcp.h>
#include <unistd.h>

#include "sockets.h"

static struct connection pair = {.in_flight = 30000};
static struct worker worker;
static int far_end;

/* Another process holds one end of a second connection and echoes. */
static int echo(void *arg, uint64_t question, uint64_t *answer)
{
    uint64_t seen = 0;

    (void)arg;
    PASS_ON(read_full(far_end, &seen, sizeof(seen)));
    EQUAL("number over TCP", question, seen);
    *answer = seen * 3;
    return write_full(far_end, answer, sizeof(*answer));
}

static int open_pair(int listener, const struct sockaddr_in *address, int *a, int *b)
{
    PASS_ON(*a = connect_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, address, sizeof(*address)));
    MUST(*b = accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    return 0;
}

static int client;

static int setup(void)
{
    struct sockaddr_in address;
    int listener;
    int on = 1;

    PASS_ON(listener = loopback_listener(&address));
    PASS_ON(open_pair(listener, &address, &pair.a, &pair.b));
    PASS_ON(open_pair(listener, &address, &client, &far_end));
    (void)close(listener);
    MUST(setsockopt(pair.a, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "TCP_NODELAY");
    MUST(setsockopt(pair.b, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)), "SO_KEEPALIVE");
    PASS_ON(worker_start(&worker, echo, NULL));
    (void)close(far_end);
    return connection_put(&pair, 0);
}

static int check(uint64_t n)
{
    uint64_t seen = 0;

    EQUAL("TCP_NODELAY", 1, get_option(pair.a, IPPROTO_TCP, TCP_NODELAY));
    EQUAL("no TCP_NODELAY", 0, get_option(pair.b, IPPROTO_TCP, TCP_NODELAY));
    EQUAL("SO_KEEPALIVE", 1, get_option(pair.b, SOL_SOCKET, SO_KEEPALIVE));
    PASS_ON(connection_take(&pair, n - 1));
    PASS_ON(write_full(client, &n, sizeof(n)));
    PASS_ON(worker_expect(&worker, "answer of the other end", n, n * 3));
    PASS_ON(read_full(client, &seen, sizeof(seen)));
    EQUAL("answer over TCP", n * 3, seen);
    return connection_put(&pair, n);
}

const struct workload_kind kind_tcp_loopback = {
    .name = "tcp-loopback",
    .description = "established TCP connections, both ends inside, data in flight",
    .flags = KIND_UNIQUE | KIND_TCP,
    .setup = setup,
    .check = check,
};
