/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual machine: an anonymous file with all its state in the kernel. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common.h"

static int machine;

static int setup(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return skip_kind("/dev/kvm: %s", strerror(errno));
    MUST(machine = ioctl(fd, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    (void)close(fd);
    return 0;
}

static int check(uint64_t n)
{
    (void)n;
    AT_LEAST("memory slots", 1, ioctl(machine, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS));
    return 0;
}

const struct workload_kind kind_kvm_device = {
    .name = "kvm-device",
    .description = "virtual machine",
    .flags = KIND_REFUSED,
    .reason = "a virtual machine's state is in the kernel only",
    .setup = setup,
    .check = check,
};
