/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings of files: private with changed pages, shared, and with an offset.
 * Changed private pages are in the snapshot; the shared file is not, so it may
 * be newer than the memory that knows what was written there.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

enum { SIZE = 32 * 4096, OFFSET = 8 * 4096 };

static struct {
    unsigned char *private;
    uint64_t *shared;
    unsigned char *readonly;
} s;

static int map(const char *name, int flags, int protection, off_t offset, void **ret_at)
{
    int fd = make_file(name, SIZE + OFFSET, 10, O_RDWR);

    PASS_ON(fd);
    *ret_at = mmap(NULL, SIZE, protection, flags, fd, offset);
    MUST(*ret_at, "mmap");
    (void)close(fd);
    return 0;
}

static int setup(void)
{
    void *at;

    PASS_ON(map("private", MAP_PRIVATE, PROT_READ | PROT_WRITE, 0, &at));
    s.private = at;
    PASS_ON(map("shared", MAP_SHARED, PROT_READ | PROT_WRITE, 0, &at));
    s.shared = at;
    PASS_ON(map("readonly", MAP_PRIVATE, PROT_READ, OFFSET, &at));
    s.readonly = at;
    pattern_fill(s.private + 4096, 4096, 0);
    s.shared[7] = 0;
    return 0;
}

static int check(uint64_t n)
{
    uint64_t seen = 0;
    int fd;

    PASS_ON(pattern_verify("unchanged private page", s.private, 4096, 10));
    PASS_ON(pattern_verify("changed private page", s.private + 4096, 4096, n - 1));
    PASS_ON(pattern_verify("mapping with an offset", s.readonly, 4096, 10 + OFFSET / 4096));
    AT_LEAST("shared mapping", n - 1, s.shared[7]);
    pattern_fill(s.private + 4096, 4096, n);
    s.shared[7] = n;
    MUST(fd = open(own_path("shared").text, O_RDONLY | O_CLOEXEC), "open");
    MUST(pread(fd, &seen, sizeof(seen), 7 * sizeof(seen)), "pread");
    EQUAL("file under the shared mapping", n, seen);
    (void)close(fd);
    return 0;
}

const struct workload_kind kind_mmap_file = {
    .name = "mmap-file",
    .description = "file mappings, private with changed pages, shared, with offset",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
