/* SPDX-License-Identifier: Apache-2.0 */
/* A connection which the listener has not accepted yet. */
#include <poll.h>
#include <unistd.h>

#include "sockets.h"

static struct {
    int listener;
    int client;
    struct sockaddr_un address;
} s;

static int queue_one(void)
{
    s.client = connect_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, &s.address, sizeof(s.address));
    return s.client;
}

static int setup(void)
{
    s.address = unix_address(own_path("socket").text);
    MUST(s.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    MUST(bind(s.listener, (struct sockaddr *)&s.address, sizeof(s.address)), "bind");
    MUST(listen(s.listener, 9), "listen");
    PASS_ON(queue_one());
    return 0;
}

static int check(uint64_t n)
{
    uint64_t seen = 0;
    int fd;

    PASS_ON(wait_for(s.listener, POLLIN, "a waiting connection"));
    MUST(fd = accept4(s.listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    PASS_ON(write_full(s.client, &n, sizeof(n)));
    PASS_ON(read_full(fd, &seen, sizeof(seen)));
    EQUAL("number over the accepted connection", n, seen);
    (void)close(fd);
    (void)close(s.client);
    PASS_ON(queue_one());
    return 0;
}

const struct workload_kind kind_unix_backlog = {
    .name = "unix-backlog",
    .description = "unix connection not accepted yet",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
