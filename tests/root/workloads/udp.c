/* SPDX-License-Identifier: Apache-2.0 */
/* UDP sockets. Datagrams in a receive queue may get lost, so none is left there. */
#include <unistd.h>

#include "sockets.h"

enum { MESSAGES = 4 };

static struct {
    int server;
    int client;
    struct sockaddr_in address;
} s;

static int setup(void)
{
    int on = 1;

    PASS_ON(s.server = loopback_socket(SOCK_DGRAM | SOCK_CLOEXEC, &s.address));
    MUST(setsockopt(s.server, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), "SO_BROADCAST");
    s.client = connect_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, &s.address, sizeof(s.address));
    PASS_ON(s.client);
    return 0;
}

static int check(uint64_t n)
{
    struct sockaddr_in peer;
    socklen_t size = sizeof(peer);

    EQUAL("SO_BROADCAST", 1, get_option(s.server, SOL_SOCKET, SO_BROADCAST));
    EQUAL("no SO_BROADCAST", 0, get_option(s.client, SOL_SOCKET, SO_BROADCAST));
    MUST(getpeername(s.client, (struct sockaddr *)&peer, &size), "getpeername");
    EQUAL("port of the peer", ntohs(s.address.sin_port), ntohs(peer.sin_port));
    PASS_ON(messages_put(s.client, MESSAGES, n));
    return messages_take(s.server, MESSAGES, n);
}

const struct workload_kind kind_udp = {
    .name = "udp",
    .description = "bound and connected UDP sockets",
    .flags = KIND_UNIQUE,
    .setup = setup,
    .check = check,
};
