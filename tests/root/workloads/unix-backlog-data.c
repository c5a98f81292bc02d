/* SPDX-License-Identifier: Apache-2.0 */
/* A connection which the listener has not accepted yet, with data already sent. */
#include <poll.h>
#include <unistd.h>

#include "sockets.h"

static struct {
    int listener;
    int client;
    struct sockaddr_un address;
} s;

static int queue_one(uint64_t n)
{
    s.client = connect_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, &s.address, sizeof(s.address));
    PASS_ON(s.client);
    return write_full(s.client, &n, sizeof(n));
}

static int setup(void)
{
    s.address = unix_address(own_path("socket").text);
    MUST(s.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    MUST(bind(s.listener, (struct sockaddr *)&s.address, sizeof(s.address)), "bind");
    MUST(listen(s.listener, 9), "listen");
    return queue_one(0);
}

static int check(uint64_t n)
{
    uint64_t seen = 0;
    int fd;

    PASS_ON(wait_for(s.listener, POLLIN, "a waiting connection"));
    MUST(fd = accept4(s.listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    PASS_ON(read_full(fd, &seen, sizeof(seen)));
    EQUAL("data of the waiting connection", n - 1, seen);
    (void)close(fd);
    (void)close(s.client);
    return queue_one(n);
}

const struct workload_kind kind_unix_backlog_data = {
    .name = "unix-backlog-data",
    .description = "unix connection not accepted yet, with data",
    .flags = KIND_FILES | KIND_REFUSED,
    .reason = "CRIU does not read what was sent over a connection nobody has accepted",
    .setup = setup,
    .check = check,
};
