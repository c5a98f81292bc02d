/* SPDX-License-Identifier: Apache-2.0 */
/* A packet socket bound to the loopback interface. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "sockets.h"

static int packet;
static struct sockaddr_ll address;

static int setup(void)
{
    packet = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (packet < 0 && (errno == EPERM || errno == EAFNOSUPPORT))
        return skip_kind("no packet sockets here: %s", strerror(errno));
    MUST(packet, "socket");
    address.sll_family = AF_PACKET;
    /* An experimental protocol number: no traffic of others gets into the queue. */
    address.sll_protocol = htons(0x88b5);
    address.sll_ifindex = (int)if_nametoindex("lo");
    MUST(bind(packet, (struct sockaddr *)&address, sizeof(address)), "bind");
    return 0;
}

static int check(uint64_t n)
{
    struct sockaddr_ll seen;
    socklen_t size = sizeof(seen);

    MUST(getsockname(packet, (struct sockaddr *)&seen, &size), "getsockname");
    EQUAL("protocol", address.sll_protocol, seen.sll_protocol);
    EQUAL("interface", address.sll_ifindex, seen.sll_ifindex);
    (void)n;
    return 0;
}

const struct workload_kind kind_packet_socket = {
    .name = "packet-socket",
    .description = "packet socket bound to the loopback interface",
    .setup = setup,
    .check = check,
};
