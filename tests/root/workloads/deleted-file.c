/* SPDX-License-Identifier: Apache-2.0 */
/* Files without a name: a small one, a mapped one, and one above CRIU's usual limit. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

enum { SMALL = 20000, BIG = 3 * 1024 * 1024 };

static struct {
    int small;
    int big;
    unsigned char *mapped;
    unsigned char buffer[SMALL];
} s;

static int make_nameless(const char *name, size_t size, uint64_t seed)
{
    int fd = make_file(name, size, seed, O_RDWR);

    PASS_ON(fd);
    MUST(unlink(own_path(name).text), "unlink");
    return fd;
}

static int setup(void)
{
    int fd;

    PASS_ON(s.small = make_nameless("small", SMALL, 0));
    pattern_fill(s.buffer, SMALL, 0);
    MUST(pwrite(s.small, s.buffer, SMALL, 0), "pwrite");
    PASS_ON(s.big = make_nameless("big", BIG, 9));
    PASS_ON(fd = make_nameless("mapped", SMALL, 5));
    s.mapped = mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(s.mapped, "mmap");
    pattern_fill(s.mapped, SMALL, 0);
    (void)close(fd);
    return 0;
}

static int check_big(void)
{
    static unsigned char block[4096];

    for (size_t at = 0; at < BIG; at += sizeof(block)) {
        MUST(pread(s.big, block, sizeof(block), (off_t)at), "pread");
        PASS_ON(pattern_verify("big file", block, sizeof(block), 9 + at / sizeof(block)));
    }
    return 0;
}

static int check(uint64_t n)
{
    struct stat info;

    MUST(fstat(s.small, &info), "fstat");
    EQUAL("names of the file", 0, info.st_nlink);
    EQUAL("size", SMALL, info.st_size);
    MUST(pread(s.small, s.buffer, SMALL, 0), "pread");
    PASS_ON(pattern_verify("small file", s.buffer, SMALL, n - 1));
    PASS_ON(pattern_verify("mapped file", s.mapped, SMALL, n - 1));
    PASS_ON(check_big());
    pattern_fill(s.buffer, SMALL, n);
    pattern_fill(s.mapped, SMALL, n);
    MUST(pwrite(s.small, s.buffer, SMALL, 0), "pwrite");
    return 0;
}

const struct workload_kind kind_deleted_file = {
    .name = "deleted-file",
    .description = "deleted files: small, mapped, and 3 MB",
    .setup = setup,
    .check = check,
};
