/* SPDX-License-Identifier: Apache-2.0 */
/* Ended children which nobody has waited for, by exit and by signal. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

static pid_t exited;
static pid_t killed;

static int leave_zombies(uint64_t n)
{
    MUST(exited = fork(), "fork");
    if (exited == 0)
        _exit((int)(n % 100) + 7);
    MUST(killed = fork(), "fork");
    if (killed == 0) {
        (void)raise(SIGKILL);
        _exit(0);
    }
    PASS_ON(wait_state(exited, 'Z'));
    return wait_state(killed, 'Z');
}

static int setup(void)
{
    return leave_zombies(0);
}

static int check(uint64_t n)
{
    int status = 0;

    EQUAL("state", 'Z', process_state(exited));
    PASS_ON(wait_child(exited, &status));
    EQUAL("exited", 1, WIFEXITED(status));
    EQUAL("exit status", (n - 1) % 100 + 7, WEXITSTATUS(status));
    PASS_ON(wait_child(killed, &status));
    EQUAL("killed", 1, WIFSIGNALED(status));
    EQUAL("signal", SIGKILL, WTERMSIG(status));
    return leave_zombies(n);
}

const struct workload_kind kind_zombie = {
    .name = "zombie",
    .description = "ended children not waited for",
    .setup = setup,
    .check = check,
};
