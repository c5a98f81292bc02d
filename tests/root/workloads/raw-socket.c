/* SPDX-License-Identifier: Apache-2.0 */
/* A raw ICMP socket which pings the loopback address. */
#include <arpa/inet.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "sockets.h"

static int raw;

static uint16_t sum(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint32_t total = 0;

    for (size_t i = 0; i + 1 < size; i += 2)
        total += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return htons((uint16_t)~total);
}

static int setup(void)
{
    raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
    if (raw < 0 && (errno == EPERM || errno == EPROTONOSUPPORT))
        return skip_kind("no raw sockets here: %s", strerror(errno));
    MUST(raw, "socket");
    return 0;
}

static int wait_for_reply(uint16_t id, uint16_t sequence)
{
    unsigned char packet[512];
    struct icmphdr reply;

    for (int tries = 0; tries < 100; tries++) {
        PASS_ON(wait_for(raw, POLLIN, "an echo reply"));
        MUST(recv(raw, packet, sizeof(packet), 0), "recv");
        memcpy(&reply, packet + 4 * (size_t)(packet[0] & 15), sizeof(reply));
        if (reply.type == ICMP_ECHOREPLY && reply.un.echo.id == id &&
            reply.un.echo.sequence == sequence)
            return 0;
    }
    return fail("expected an echo reply, seen other packets only");
}

static int check(uint64_t n)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct icmphdr ping = {.type = ICMP_ECHO};

    ping.un.echo.id = htons((uint16_t)getpid());
    ping.un.echo.sequence = htons((uint16_t)n);
    ping.checksum = sum(&ping, sizeof(ping));
    EQUAL("protocol", IPPROTO_ICMP, get_option(raw, SOL_SOCKET, SO_PROTOCOL));
    MUST(sendto(raw, &ping, sizeof(ping), 0, (struct sockaddr *)&to, sizeof(to)), "sendto");
    return wait_for_reply(ping.un.echo.id, ping.un.echo.sequence);
}

const struct workload_kind kind_raw_socket = {
    .name = "raw-socket",
    .description = "raw ICMP socket",
    .setup = setup,
    .check = check,
};
