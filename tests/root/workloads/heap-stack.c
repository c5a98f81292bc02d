/* SPDX-License-Identifier: Apache-2.0 */
/* Heap by brk, small and large allocations, a deep stack, static data, a file of stdio. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common.h"

enum { BLOCKS = 2000 };

static struct {
    unsigned char *blocks[BLOCKS];
    char *break_at;
    FILE *buffered;
    int buffered_end;
} s;

static size_t block_size(size_t i)
{
    return 16 + i * 37 % 3000 + (i % 500 == 0 ? 300000 : 0);
}

/* Data buffered by stdio and not written yet is memory too. */
static int buffer_a_line(uint64_t n)
{
    if (fprintf(s.buffered, "%llu\n", (unsigned long long)n) < 0)
        return fail_errno("fprintf");
    return expect_quiet(s.buffered_end, "pipe behind the buffer");
}

static int setup(void)
{
    int fds[2];

    MUST(pipe2(fds, O_CLOEXEC), "pipe2");
    s.buffered = fdopen(fds[1], "w");
    s.buffered_end = fds[0];
    s.break_at = sbrk(128 * 1024);
    MUST(s.break_at, "sbrk");
    pattern_fill(s.break_at, 128 * 1024, 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        s.blocks[i] = malloc(block_size(i));
        if (s.blocks[i] == NULL)
            return fail("malloc: no memory");
        pattern_fill(s.blocks[i], block_size(i), i);
    }
    return buffer_a_line(0);
}

static int check_stack(uint64_t n, unsigned int depth)
{
    unsigned char frame[8000];

    pattern_fill(frame, sizeof(frame), n + depth);
    if (depth > 0)
        PASS_ON(check_stack(n, depth - 1));
    return pattern_verify("stack", frame, sizeof(frame), n + depth);
}

static int check(uint64_t n)
{
    char line[32] = "";
    size_t renewed = n % BLOCKS;

    for (size_t i = 0; i < BLOCKS; i++)
        PASS_ON(pattern_verify("block of the heap", s.blocks[i], block_size(i), i));
    PASS_ON(pattern_verify("break", s.break_at, 128 * 1024, n - 1));
    pattern_fill(s.break_at, 128 * 1024, n);
    free(s.blocks[renewed]);
    s.blocks[renewed] = malloc(block_size(renewed));
    pattern_fill(s.blocks[renewed], block_size(renewed), renewed);
    PASS_ON(check_stack(n, 300));
    (void)fflush(s.buffered);
    MUST(read(s.buffered_end, line, sizeof(line) - 1), "read");
    EQUAL("number in the buffer", n - 1, strtoll(line, NULL, 10));
    return buffer_a_line(n);
}

const struct workload_kind kind_heap_stack = {
    .name = "heap-stack",
    .description = "heap, break, deep stack, buffered output",
    .setup = setup,
    .check = check,
};
