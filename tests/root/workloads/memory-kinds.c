/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings of many kinds keep their addresses, protections, flags and contents. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

enum { SIZE = 64 * 4096 };

struct area {
    const char *what;
    int protection;
    int flags;
    int advice; /* -1 for none */
    unsigned char *at;
    char seen[256]; /* VmFlags at the start */
};

static struct area areas[] = {
    {.what = "read-only", .protection = PROT_READ, .advice = -1},
    {.what = "inaccessible", .protection = PROT_NONE, .advice = -1},
    {.what = "executable", .protection = PROT_READ | PROT_EXEC, .advice = -1},
    {.what = "growing down",
     .protection = PROT_READ | PROT_WRITE,
     .flags = MAP_GROWSDOWN,
     .advice = -1},
    {.what = "not reserved",
     .protection = PROT_READ | PROT_WRITE,
     .flags = MAP_NORESERVE,
     .advice = -1},
    {.what = "locked", .protection = PROT_READ | PROT_WRITE, .flags = MAP_LOCKED, .advice = -1},
    {.what = "not for children", .protection = PROT_READ | PROT_WRITE, .advice = MADV_DONTFORK},
    {.what = "wiped in children", .protection = PROT_READ | PROT_WRITE, .advice = MADV_WIPEONFORK},
    {.what = "not for core dumps", .protection = PROT_READ | PROT_WRITE, .advice = MADV_DONTDUMP},
    {.what = "huge pages", .protection = PROT_READ | PROT_WRITE, .advice = MADV_HUGEPAGE},
    {.what = "no huge pages", .protection = PROT_READ | PROT_WRITE, .advice = MADV_NOHUGEPAGE},
    {.what = "mergeable", .protection = PROT_READ | PROT_WRITE, .advice = MADV_MERGEABLE},
};

/* The VmFlags and protection of the mapping that holds an address, as text. */
static int describe(const void *at, char *buffer, size_t size)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    char protection[8] = "";

    if (smaps == NULL)
        return fail_errno("/proc/self/smaps");
    buffer[0] = '\0';
    while (fgets(line, sizeof(line), smaps) != NULL) {
        unsigned long start;
        unsigned long end;
        char seen[8];

        if (sscanf(line, "%lx-%lx %4s", &start, &end, seen) == 3) {
            inside = (uintptr_t)at >= start && (uintptr_t)at < end;
            if (inside)
                memcpy(protection, seen, sizeof(protection));
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            /* Soft-dirty ("sd") says who wrote when, not what the mapping is. */
            char *soft_dirty = strstr(line, " sd");

            if (soft_dirty != NULL)
                memmove(soft_dirty, soft_dirty + 3, strlen(soft_dirty + 3) + 1);
            (void)snprintf(buffer, size, "%s %.200s", protection, line + 8);
        }
    }
    (void)fclose(smaps);
    buffer[strcspn(buffer, "\n")] = '\0';
    return buffer[0] != '\0' ? 0 : fail("%p: expected a mapping, seen none", at);
}

/* A guard page between, or the kernel would merge neighbours. */
static int make_area(struct area *area, uint64_t seed)
{
    unsigned char *at = mmap(NULL, SIZE + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    MUST(at, "mmap of the surroundings");
    area->at = mmap(at + 4096, SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | area->flags, -1, 0);
    MUST(area->at, area->what);
    pattern_fill(area->at, SIZE, seed);
    if (area->advice >= 0 && madvise(area->at, SIZE, area->advice) < 0 && errno != EINVAL)
        return fail_errno(area->what);
    MUST(mprotect(area->at, SIZE, area->protection), "mprotect");
    return describe(area->at, area->seen, sizeof(area->seen));
}

static int setup(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
        PASS_ON(make_area(&areas[i], i));
    return 0;
}

static int check_area(struct area *area, uint64_t before, uint64_t after)
{
    char seen[256];

    PASS_ON(describe(area->at, seen, sizeof(seen)));
    if (strcmp(seen, area->seen) != 0)
        return fail("%s: expected flags '%s', seen '%s'", area->what, area->seen, seen);
    MUST(mprotect(area->at, SIZE, PROT_READ | PROT_WRITE), "mprotect");
    PASS_ON(pattern_verify(area->what, area->at, SIZE, before));
    pattern_fill(area->at, SIZE, after);
    MUST(mprotect(area->at, SIZE, area->protection), "mprotect");
    return 0;
}

static int check(uint64_t n)
{
    for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
        PASS_ON(check_area(&areas[i], (n - 1) * 100 + i, n * 100 + i));
    return 0;
}

const struct workload_kind kind_memory_kinds = {
    .name = "memory-kinds",
    .description = "mappings of many protections, flags and advices",
    .setup = setup,
    .check = check,
};
