/* SPDX-License-Identifier: Apache-2.0 */
/* Memory which the kernel itself cannot read. */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

enum { SIZE = 8192 };

static unsigned char *memory;

static int setup(void)
{
    int fd = (int)syscall(SYS_memfd_secret, 0);

    if (fd < 0)
        return skip_kind("memfd_secret: %s", strerror(errno));
    MUST(ftruncate(fd, SIZE), "ftruncate");
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return skip_kind("mmap of secret memory: %s", strerror(errno));
    pattern_fill(memory, SIZE, 0);
    return 0;
}

static int check(uint64_t n)
{
    PASS_ON(pattern_verify("secret memory", memory, SIZE, n - 1));
    pattern_fill(memory, SIZE, n);
    return 0;
}

const struct workload_kind kind_secret_memory = {
    .name = "secret-memory",
    .description = "memory that only its process can read (memfd_secret)",
    .flags = KIND_REFUSED,
    .reason = "nobody but the process can read that memory",
    .setup = setup,
    .check = check,
};
