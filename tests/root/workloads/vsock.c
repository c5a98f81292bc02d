/* SPDX-License-Identifier: Apache-2.0 */
/* A socket of a family that CRIU does not know. */
#include <sys/socket.h>

#include <linux/vm_sockets.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static int fd;

static int setup(void)
{
    fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return skip_kind("AF_VSOCK: %s", strerror(errno));
    return 0;
}

static int check(uint64_t n)
{
    int type = 0;
    socklen_t size = sizeof(type);

    (void)n;
    MUST(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), "SO_TYPE");
    EQUAL("type", SOCK_STREAM, type);
    return 0;
}

const struct workload_kind kind_vsock = {
    .name = "vsock",
    .description = "socket of the VM sockets family",
    .flags = KIND_REFUSED,
    .reason = "CRIU knows unix, IP, packet and netlink sockets",
    .setup = setup,
    .check = check,
};
