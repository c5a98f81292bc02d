/* SPDX-License-Identifier: Apache-2.0 */
/* Memory files: mapped and shared with a child, sealed, executable-free, with an offset. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

enum { SIZE = 256 * 1024, SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static struct {
    int shared;
    int sealed;
    unsigned char *mapping;
    struct worker worker;
} s;

/* The child sees what the parent wrote and leaves its own number at the end. */
static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    uint64_t *slot = (uint64_t *)(void *)(s.mapping + SIZE) - 1;

    (void)arg;
    PASS_ON(pattern_verify("memory seen by the child", s.mapping, SIZE / 2, question));
    *slot = question * 7;
    *answer = *slot;
    return 0;
}

static int setup(void)
{
    MUST(s.shared = memfd_create("shared", MFD_CLOEXEC), "memfd_create");
    MUST(ftruncate(s.shared, SIZE), "ftruncate");
    s.mapping = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s.shared, 0);
    MUST(s.mapping, "mmap");
    pattern_fill(s.mapping, SIZE / 2, 0);
    MUST(s.sealed = memfd_create("sealed", MFD_ALLOW_SEALING), "memfd_create");
    MUST(ftruncate(s.sealed, 4096), "ftruncate");
    MUST(fcntl(s.sealed, F_ADD_SEALS, SEALS), "F_ADD_SEALS");
    MUST(lseek(s.sealed, 100, SEEK_SET), "lseek");
    return worker_start(&s.worker, serve, NULL);
}

static int check_sealed(uint64_t n)
{
    uint64_t seen = 0;

    EQUAL("seals", SEALS, fcntl(s.sealed, F_GET_SEALS));
    EQUAL("offset", 100 + 8 * (n - 1), lseek(s.sealed, 0, SEEK_CUR));
    if (n > 1) {
        MUST(pread(s.sealed, &seen, sizeof(seen), 100 + 8 * ((off_t)n - 2)), "pread");
        EQUAL("number in the sealed file", n - 1, seen);
    }
    MUST(write(s.sealed, &n, sizeof(n)), "write");
    EQUAL("growing a sealed file", -1, ftruncate(s.sealed, 8192));
    EQUAL("errno of growing a sealed file", EPERM, errno);
    return 0;
}

static int check(uint64_t n)
{
    uint64_t slot = 0;
    struct stat info;

    MUST(fstat(s.shared, &info), "fstat");
    EQUAL("size", SIZE, info.st_size);
    PASS_ON(pattern_verify("memory file", s.mapping, SIZE / 2, n - 1));
    MUST(pread(s.shared, &slot, sizeof(slot), SIZE - 8), "pread");
    EQUAL("number left by the child", (n - 1) * 7, slot);
    PASS_ON(check_sealed(n));
    pattern_fill(s.mapping, SIZE / 2, n);
    return worker_expect(&s.worker, "answer of the child", n, n * 7);
}

const struct workload_kind kind_memfd = {
    .name = "memfd",
    .description = "memory files, shared with a child, and sealed",
    .setup = setup,
    .check = check,
};
