/* SPDX-License-Identifier: Apache-2.0 */
/* A connection whose other end is outside the tree: whoever drives listens at DIR/external. */
#include <string.h>
#include <unistd.h>

#include "sockets.h"

static int fd;

static int setup(void)
{
    struct sockaddr_un address = unix_address(own_path("external").text);

    MUST(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return skip_kind("nobody listens at %s: %s", address.sun_path, strerror(errno));
    return 0;
}

/* The peer sends back what it gets. */
static int check(uint64_t n)
{
    uint64_t seen = 0;

    PASS_ON(write_full(fd, &n, sizeof(n)));
    PASS_ON(read_full(fd, &seen, sizeof(seen)));
    EQUAL("echo", n, seen);
    return 0;
}

const struct workload_kind kind_unix_external = {
    .name = "unix-external",
    .description = "unix stream connection to a process outside",
    .flags = KIND_REFUSED,
    .reason = "the peer would see the connection end, and cannot be carried over",
    .setup = setup,
    .check = check,
};
