/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes, not threads of one, in the same address space. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "common.h"

enum { STACK = 64 * 1024 };

static atomic_uint_fast64_t question;
static atomic_uint_fast64_t answer;

static int run(void *arg)
{
    (void)arg;
    for (;;) {
        atomic_store(&answer, atomic_load(&question));
        (void)sleep_ms(1);
    }
    return 0;
}

static pid_t child;

static int setup(void)
{
    unsigned char *stack =
        mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    MUST(stack, "mmap");
    /* One descriptor table and one directory as well, as a runtime would do it. */
    MUST(child = clone(run, stack + STACK, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL),
         "clone");
    return 0;
}

static int check(uint64_t n)
{
    EQUAL("number in the shared memory", n - 1, atomic_load(&answer));
    atomic_store(&question, n);
    for (unsigned int ms = 0; ms < TIMEOUT_MS && atomic_load(&answer) != n; ms++)
        (void)sleep_ms(1);
    EQUAL("answer of the other process", n, atomic_load(&answer));
    return 0;
}

static void stop(void)
{
    (void)kill(child, SIGKILL);
}

const struct workload_kind kind_shared_memory_space = {
    .name = "shared-memory-space",
    .description = "two processes in one address space (CLONE_VM)",
    .flags = KIND_REFUSED,
    .reason = "CRIU restores an address space for each process",
    .setup = setup,
    .check = check,
    .stop = stop,
};
