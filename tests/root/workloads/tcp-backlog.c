/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection which the kernel has completed and the program not accepted. */
#include <poll.h>
#include <unistd.h>

#include "sockets.h"

static int listener;
static int client;
static struct sockaddr_in address;

static int queue_one(uint64_t n)
{
    client = connect_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, &address, sizeof(address));
    PASS_ON(client);
    return write_full(client, &n, sizeof(n));
}

static int setup(void)
{
    PASS_ON(listener = loopback_listener(&address));
    return queue_one(0);
}

static int check(uint64_t n)
{
    uint64_t seen = 0;
    int fd;

    PASS_ON(wait_for(listener, POLLIN, "a waiting connection"));
    MUST(fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    PASS_ON(read_full(fd, &seen, sizeof(seen)));
    EQUAL("data of the waiting connection", n - 1, seen);
    (void)close(client);
    (void)close(fd);
    return queue_one(n);
}

const struct workload_kind kind_tcp_backlog = {
    .name = "tcp-backlog",
    .description = "TCP connection not accepted yet, both ends inside",
    .flags = KIND_UNIQUE | KIND_TCP | KIND_REFUSED,
    .reason = "the queue of a listening socket cannot be read without accepting",
    .setup = setup,
    .check = check,
};
