/* SPDX-License-Identifier: Apache-2.0 */
/* A mapping whose faults are handled in user space. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

enum { SIZE = 1024 * 4096 };

static int fd;
static unsigned char *memory;
static unsigned char page[4096] __attribute__((aligned(4096)));

static int setup(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};

    fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return skip_kind("userfaultfd: %s", strerror(errno));
    MUST(fd, "userfaultfd");
    MUST(ioctl(fd, UFFDIO_API, &api), "UFFDIO_API");
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(memory, "mmap");
    range.range.start = (uintptr_t)memory;
    range.range.len = SIZE;
    MUST(ioctl(fd, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
    return 0;
}

/* Gives the next page its contents before anybody touches it. */
static int check(uint64_t n)
{
    unsigned char *at = memory + n % 1024 * 4096;
    struct uffdio_copy copy = {.dst = (uintptr_t)at, .src = (uintptr_t)page, .len = 4096};

    pattern_fill(page, sizeof(page), n);
    MUST(ioctl(fd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
    return pattern_verify("page", at, 4096, n);
}

const struct workload_kind kind_userfaultfd = {
    .name = "userfaultfd",
    .description = "page faults handled in user space",
    .flags = KIND_REFUSED,
    .reason = "CRIU does not carry userfaultfd over",
    .setup = setup,
    .check = check,
};
