/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/stop.h"

#include <errno.h>
#include <signal.h>

#include "basic/clock.h"
#include "proc/tree.h"
#include "workload/record.h"

enum { STEP_MSEC = 5, KILL_TIMEOUT_MSEC = 10000 };

static bool wait_until_ended(const char *root, const char *name, unsigned timeout_msec)
{
    uint64_t deadline = clock_now_usec() + (uint64_t)timeout_msec * 1000;

    while (workload_alive(root, name)) {
        if (clock_now_usec() >= deadline)
            return false;
        clock_sleep_msec(STEP_MSEC);
    }
    return true;
}

/* The end of a keeper that is process 1 ends all others of its pid namespace. */
static void kill_all(const struct workload *workload)
{
    struct process_tree tree = PROCESS_TREE_INIT;

    if (workload->mode == WORKLOAD_OWN_PIDS) {
        if (workload->root > 0)
            (void)kill(workload->root, SIGKILL);
        clock_sleep_msec(STEP_MSEC); /* the keeper writes down how it ended */
        (void)kill(workload->keeper, SIGKILL);
        return;
    }
    if (process_tree_read(workload->keeper, &tree, NULL) < 0)
        return;
    for (size_t i = tree.count; i-- > 1;)
        (void)kill(tree.processes[i].pid, SIGKILL);
    process_tree_done(&tree);
}

int workload_stop(const char *root, const char *name, unsigned timeout_msec, struct error *error)
{
    struct workload workload = WORKLOAD_INIT;
    int r = workload_load_living(root, name, &workload, error);

    if (r < 0)
        return r;
    if (timeout_msec > 0 && workload.main > 0 && kill(workload.main, SIGTERM) < 0 &&
        workload.root > 0)
        (void)kill(workload.root, SIGTERM); /* the command has ended; it tells what is left */
    if (!wait_until_ended(root, name, timeout_msec)) {
        kill_all(&workload);
        if (!wait_until_ended(root, name, KILL_TIMEOUT_MSEC))
            r = error_set(error, "source-lives", ETIMEDOUT, "%s does not end", name);
    }
    workload_done(&workload);
    return r;
}
