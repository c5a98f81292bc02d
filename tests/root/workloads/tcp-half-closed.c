/* SPDX-License-Identifier: Apache-2.0 */
/* One side has said all it had to say; the other side still talks. */
#include <string.h>
#include <unistd.h>

#include "sockets.h"

enum { LAST_WORDS = 5000 };

static int talker;
static int closer;
static unsigned char buffer[LAST_WORDS];
static size_t consumed;

static int setup(void)
{
    struct sockaddr_in address;
    int listener;

    PASS_ON(listener = loopback_listener(&address));
    talker = connect_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, &address, sizeof(address));
    PASS_ON(talker);
    MUST(closer = accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    (void)close(listener);
    pattern_fill(buffer, sizeof(buffer), 77);
    PASS_ON(write_full(closer, buffer, sizeof(buffer)));
    MUST(shutdown(closer, SHUT_WR), "shutdown");
    return 0;
}

static int check(uint64_t n)
{
    uint64_t seen = 0;

    /* A little of the last words at a time, so that some are always left. */
    memset(buffer + consumed, 0, sizeof(buffer) - consumed);
    PASS_ON(read_full(talker, buffer + consumed, 8));
    consumed += 8;
    PASS_ON(pattern_verify("last words", buffer, consumed, 77));
    PASS_ON(write_full(talker, &n, sizeof(n)));
    PASS_ON(read_full(closer, &seen, sizeof(seen)));
    EQUAL("number against the closed direction", n, seen);
    EQUAL("send after shutdown", -1, send(closer, "x", 1, MSG_NOSIGNAL));
    EQUAL("errno of a send after shutdown", EPIPE, errno);
    return 0;
}

const struct workload_kind kind_tcp_half_closed = {
    .name = "tcp-half-closed",
    .description = "TCP connection shut down in one direction",
    .flags = KIND_UNIQUE | KIND_TCP,
    .setup = setup,
    .check = check,
};
