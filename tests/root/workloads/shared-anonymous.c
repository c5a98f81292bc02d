/* SPDX-License-Identifier: Apache-2.0 */
/* Anonymous shared memory between parent and children, one of which maps only a part. */
#include <sys/mman.h>

#include "common.h"

enum { SIZE = 1024 * 1024, PART = 64 * 1024 };

static unsigned char *memory;
static struct worker whole;
static struct worker part;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    size_t start = arg == &part ? SIZE - PART : 0;
    size_t size = arg == &part ? PART : SIZE / 2;

    PASS_ON(pattern_verify("memory seen by a child", memory + start, size, question + start));
    pattern_fill(memory + start, size, question + start + 500);
    *answer = question;
    return 0;
}

/* The rest of the memory is gone from this process, and must stay away. */
static int serve_part(void *arg, uint64_t question, uint64_t *answer)
{
    unsigned char seen[SIZE / 4096];

    if (munmap(memory, SIZE - PART) < 0)
        return fail_errno("munmap");
    if (mincore(memory, SIZE - PART, seen) == 0)
        return fail("expected nothing mapped, seen a mapping");
    return serve(arg, question, answer);
}

static int setup(void)
{
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(memory, "mmap");
    pattern_fill(memory, SIZE / 2, 500);
    pattern_fill(memory + SIZE - PART, PART, 500 + SIZE - PART);
    PASS_ON(worker_start(&whole, serve, &whole));
    return worker_start(&part, serve_part, &part);
}

static int check(uint64_t n)
{
    size_t tail = SIZE - PART;

    /* The children left n - 1 + 500 there. */
    PASS_ON(pattern_verify("first half", memory, SIZE / 2, n - 1 + 500));
    PASS_ON(pattern_verify("last part", memory + tail, PART, n - 1 + tail + 500));
    for (size_t at = SIZE / 2; at < tail; at++)
        EQUAL("untouched byte", 0, memory[at]);
    pattern_fill(memory, SIZE / 2, n);
    pattern_fill(memory + tail, PART, n + tail);
    PASS_ON(worker_expect(&whole, "first child", n, n));
    return worker_expect(&part, "second child", n, n);
}

const struct workload_kind kind_shared_anonymous = {
    .name = "shared-anonymous",
    .description = "anonymous shared memory between processes",
    .setup = setup,
    .check = check,
};
