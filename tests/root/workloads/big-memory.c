/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 300 MB of memory: random pages, untouched holes, pages of zeros, a read-only
 * part. Every byte is compared each time.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

#define MIB ((size_t)1024 * 1024)
#define SIZE (300 * MIB)
#define HOLE_AT (200 * MIB)
#define HOLE (48 * MIB)
#define ZEROS_AT (HOLE_AT + HOLE)
#define ZEROS (20 * MIB)
#define SEALED_AT (ZEROS_AT + ZEROS)
#define PARTS 8

static struct {
    unsigned char *at;
    uint64_t seeds[PARTS];
} s;

/* Pages of the hole which have been given memory. */
static int count_present(size_t *ret_count)
{
    uint64_t entries[512];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t first = ((size_t)s.at + HOLE_AT) / page;
    size_t pages = HOLE / page;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    MUST(fd, "/proc/self/pagemap");
    *ret_count = 0;
    for (size_t at = 0; at < pages; at += ARRAY_SIZE(entries)) {
        if (pread(fd, entries, sizeof(entries), (off_t)((first + at) * 8)) !=
            (ssize_t)sizeof(entries))
            return fail_errno("read of pagemap");
        for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
            *ret_count += entries[i] >> 63;
    }
    (void)close(fd);
    return 0;
}

static int setup(void)
{
    size_t part = HOLE_AT / PARTS;

    s.at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(s.at, "mmap");
    for (size_t i = 0; i < PARTS; i++) {
        s.seeds[i] = i * 1000;
        pattern_fill(s.at + i * part, part, s.seeds[i]);
    }
    for (size_t at = 0; at < ZEROS; at += 4096)
        ((volatile unsigned char *)s.at)[ZEROS_AT + at] = 0;
    pattern_fill(s.at + SEALED_AT, SIZE - SEALED_AT, 4242);
    MUST(mprotect(s.at + SEALED_AT, SIZE - SEALED_AT, PROT_READ), "mprotect");
    return 0;
}

static int check_zeros(void)
{
    const uint64_t *words = (const uint64_t *)(void *)(s.at + ZEROS_AT);
    uint64_t seen = 0;

    for (size_t i = 0; i < ZEROS / sizeof(*words); i++)
        seen |= words[i];
    EQUAL("pages of zeros", 0, seen);
    return 0;
}

static int check(uint64_t n)
{
    size_t part = HOLE_AT / PARTS;
    size_t present;

    for (size_t i = 0; i < PARTS; i++)
        PASS_ON(pattern_verify("part of the memory", s.at + i * part, part, s.seeds[i]));
    PASS_ON(pattern_verify("read-only part", s.at + SEALED_AT, SIZE - SEALED_AT, 4242));
    PASS_ON(check_zeros());
    /* A few may come with huge pages at the borders, the bulk must stay untouched. */
    PASS_ON(count_present(&present));
    WITHIN("pages present in the hole", 0, 1024, present);
    s.seeds[n % PARTS] += n;
    pattern_fill(s.at + n % PARTS * part, part, s.seeds[n % PARTS]);
    return 0;
}

const struct workload_kind kind_big_memory = {
    .name = "big-memory",
    .description = "300 MB of memory with holes, zeros and a read-only part",
    .setup = setup,
    .check = check,
};
