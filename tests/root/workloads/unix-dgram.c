/* SPDX-License-Identifier: Apache-2.0 */
/* Bound and connected datagram sockets with queued messages, and a pair in one file. */
#include <unistd.h>

#include "sockets.h"

enum { MESSAGES = 6 };

static struct {
    int receiver;
    int sender;
    int pair[2];
} s;

static int setup(void)
{
    struct sockaddr_un address = unix_address(own_path("dgram").text);

    MUST(s.receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    MUST(bind(s.receiver, (struct sockaddr *)&address, sizeof(address)), "bind");
    s.sender = connect_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, &address, sizeof(address));
    PASS_ON(s.sender);
    MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, s.pair), "socketpair");
    PASS_ON(messages_put(s.sender, MESSAGES, 0));
    return messages_put(s.pair[0], MESSAGES, 5000);
}

static int check(uint64_t n)
{
    PASS_ON(messages_take(s.receiver, MESSAGES, n - 1));
    PASS_ON(messages_take(s.pair[1], MESSAGES, 5000 + n - 1));
    PASS_ON(messages_put(s.sender, MESSAGES, n));
    return messages_put(s.pair[0], MESSAGES, 5000 + n);
}

const struct workload_kind kind_unix_dgram = {
    .name = "unix-dgram",
    .description = "unix datagram sockets with queued messages, bound and paired",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
