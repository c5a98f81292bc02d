/* SPDX-License-Identifier: Apache-2.0 */
/* A routing netlink socket with nothing in its queue: it still answers. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "sockets.h"

static int netlink;

static int setup(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};

    MUST(netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "socket");
    MUST(bind(netlink, (struct sockaddr *)&address, sizeof(address)), "bind");
    return 0;
}

static int check(uint64_t n)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg body;
    } request = {.header = {.nlmsg_len = sizeof(request),
                            .nlmsg_type = RTM_GETLINK,
                            .nlmsg_flags = NLM_F_REQUEST,
                            .nlmsg_seq = (uint32_t)n},
                 .body = {.ifi_family = AF_UNSPEC, .ifi_index = 1}};
    union {
        struct nlmsghdr header;
        char space[16384];
    } reply;

    MUST(send(netlink, &request, sizeof(request), 0), "send");
    PASS_ON(wait_for(netlink, POLLIN, "an answer of the kernel"));
    MUST(recv(netlink, &reply, sizeof(reply), 0), "recv");
    EQUAL("sequence number", n, reply.header.nlmsg_seq);
    EQUAL("type of the answer", RTM_NEWLINK, reply.header.nlmsg_type);
    return 0;
}

const struct workload_kind kind_netlink = {
    .name = "netlink",
    .description = "routing netlink socket",
    .setup = setup,
    .check = check,
};
