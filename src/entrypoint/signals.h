/* SPDX-License-Identifier: Apache-2.0 */
/* Which signals the first process of a container takes for others, and which mean itself. */
#pragma once

#include <signal.h>
#include <stdbool.h>

static inline bool signal_asks_for_an_end(int number)
{
    return number == SIGTERM || number == SIGINT || number == SIGQUIT || number == SIGHUP;
}

/* All that a program may be told by others; what a processor or a terminal says is for this one. */
static inline void signals_of_others(sigset_t *ret_set)
{
    static const int own[] = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL, SIGTRAP,
                              SIGSYS,  SIGABRT, SIGTTIN, SIGTTOU};

    (void)sigfillset(ret_set);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        (void)sigdelset(ret_set, own[i]);
}
