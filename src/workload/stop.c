/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/stop.h"

#include <errno.h>
#include <signal.h>

#include "basic/clock.h"
#include "proc/tree.h"
#include "workload/record.h"

enum { STEP_MSEC = 5, KILL_STEP_MSEC = 100, KILL_TIMEOUT_MSEC = 10000 };

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

/* The keeper adopts what their deaths leave behind, waits for the last one and writes down how the
 * workload ended. */
static void kill_all(const struct workload *workload)
{
    struct process_tree tree = PROCESS_TREE_INIT;

    if (process_tree_read(workload->keeper, &tree, NULL) < 0)
        return;
    for (size_t i = tree.count; i-- > 1;)
        (void)kill(tree.processes[i].pid, SIGKILL);
    process_tree_done(&tree);
}

/* Again and again, since a process can fork between being seen and being killed. */
static bool kill_until_ended(const char *root, const char *name, const struct workload *workload)
{
    for (unsigned waited = 0; waited < KILL_TIMEOUT_MSEC; waited += KILL_STEP_MSEC) {
        kill_all(workload);
        if (wait_until_ended(root, name, KILL_STEP_MSEC))
            return true;
    }
    /* The end of process 1 ends all others of its pid namespace. */
    if (workload->mode == WORKLOAD_OWN_PIDS)
        (void)kill(workload->keeper, SIGKILL);
    return wait_until_ended(root, name, KILL_TIMEOUT_MSEC);
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
    if (!wait_until_ended(root, name, timeout_msec) && !kill_until_ended(root, name, &workload))
        r = error_set(error, "source-lives", ETIMEDOUT, "%s does not end", name);
    workload_done(&workload);
    return r;
}
