/* SPDX-License-Identifier: Apache-2.0 */
/* A pipe in packet mode: each write is read as one. */
#include <fcntl.h>
#include <unistd.h>

#include "common.h"

enum { PACKETS = 3 };

static int fds[2];
static unsigned char buffer[4096];

static int put(uint64_t n)
{
    for (unsigned int i = 0; i < PACKETS; i++) {
        pattern_fill(buffer, 100 + i, n + i);
        PASS_ON(write_full(fds[1], buffer, 100 + i));
    }
    return 0;
}

static int setup(void)
{
    MUST(pipe2(fds, O_DIRECT | O_NONBLOCK | O_CLOEXEC), "pipe2 O_DIRECT");
    return put(0);
}

static int check(uint64_t n)
{
    for (unsigned int i = 0; i < PACKETS; i++) {
        ssize_t got;

        MUST(got = read(fds[0], buffer, sizeof(buffer)), "read of a packet");
        EQUAL("size of a packet", 100 + i, got);
        PASS_ON(pattern_verify("packet", buffer, 100 + i, n - 1 + i));
    }
    return put(n);
}

const struct workload_kind kind_pipe_packets = {
    .name = "pipe-packets",
    .description = "pipe in packet mode (O_DIRECT)",
    .flags = KIND_REFUSED,
    .reason = "CRIU does not know where a packet in a pipe ends",
    .setup = setup,
    .check = check,
};
