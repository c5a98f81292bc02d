/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the huge page pool, private and shared. */
#include <sys/mman.h>

#include "common.h"

enum { SIZE = 2 * 1024 * 1024 };

static unsigned char *areas[2];

static int setup(void)
{
    static const int flags[] = {MAP_PRIVATE, MAP_SHARED};

    for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
        areas[i] =
            mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags[i] | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
        if (areas[i] == MAP_FAILED)
            return skip_kind("no huge pages in the pool");
        pattern_fill(areas[i], SIZE, i);
    }
    return 0;
}

static int check(uint64_t n)
{
    for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
        PASS_ON(pattern_verify("huge page", areas[i], SIZE, (n - 1) * 10 + i));
        pattern_fill(areas[i], SIZE, n * 10 + i);
    }
    return 0;
}

const struct workload_kind kind_hugetlb = {
    .name = "hugetlb",
    .description = "memory of the huge page pool",
    .setup = setup,
    .check = check,
};
