/* SPDX-License-Identifier: Apache-2.0 */
/* A driver's character device with state behind it. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static int fd;

static int setup(void)
{
    fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return skip_kind("/dev/fuse: %s", strerror(errno));
    return 0;
}

static int check(uint64_t n)
{
    char byte;

    (void)n;
    /* Not mounted yet, which is what the driver says. */
    EQUAL("read", -1, read(fd, &byte, 1));
    EQUAL("errno", EPERM, errno);
    return 0;
}

const struct workload_kind kind_fuse_device = {
    .name = "fuse-device",
    .description = "device of a driver that CRIU does not know",
    .flags = KIND_REFUSED,
    .reason = "the state behind the device is unknown",
    .setup = setup,
    .check = check,
};
