/* SPDX-License-Identifier: Apache-2.0 */
/* An alternative signal stack, used by a handler after the restore. */
#include <signal.h>
#include <stdlib.h>

#include "common.h"

enum { SIZE = 128 * 1024 };

static unsigned char *stack;
static volatile sig_atomic_t ran_on_it;

static void handle(int number)
{
    unsigned char here;

    (void)number;
    ran_on_it += &here >= stack && &here < stack + SIZE;
}

static int setup(void)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    stack_t description = {.ss_size = SIZE};

    stack = malloc(SIZE);
    if (stack == NULL)
        return -ENOMEM;
    description.ss_sp = stack;
    MUST(sigaltstack(&description, NULL), "sigaltstack");
    MUST(sigaction(SIGUSR2, &action, NULL), "sigaction");
    return 0;
}

static int check(uint64_t n)
{
    stack_t seen;

    MUST(sigaltstack(NULL, &seen), "sigaltstack");
    EQUAL("size of the stack", SIZE, seen.ss_size);
    EQUAL("stack kept", 1, seen.ss_sp == stack);
    EQUAL("handlers run on it", n - 1, ran_on_it);
    MUST(raise(SIGUSR2), "raise");
    EQUAL("handlers run on it", n, ran_on_it);
    return 0;
}

const struct workload_kind kind_altstack = {
    .name = "altstack",
    .description = "alternative signal stack",
    .setup = setup,
    .check = check,
};
