/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t noted;

static void note(int number)
{
    noted = number;
}

void interrupt_catch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    /* One shot: the second signal of the same kind has its ordinary effect. */
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART | (int)SA_RESETHAND};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        (void)sigaction(numbers[i], &action, NULL);
}

int interrupt_check(struct error *error)
{
    if (!noted)
        return 0;
    return error_set(error, "interrupted", EINTR, "Stopped by signal %d (%s)", (int)noted,
                     strsignal(noted));
}
