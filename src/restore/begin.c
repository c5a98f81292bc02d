/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "restore/state.h"
#include "workload/shared-memory.h"

/* In the order of the plan, which is the order of the keys in the request to CRIU. */
static int *stand_in_fds(const struct restore_plan *plan, const struct keeper_stdio *stdio,
                         int null)
{
    int *fds = allocate((plan->stand_in_count + 1) * sizeof *fds);

    for (size_t i = 0; i < plan->stand_in_count; i++) {
        const struct stand_in *stand_in = &plan->stand_ins[i];

        if (stand_in->terminal)
            fds[i] = stdio->terminal;
        else
            fds[i] = stand_in->writes ? stdio->pipe : null;
    }
    return fds;
}

static int load_shm(const struct restore *restore, struct error *error)
{
    CLEANUP(close_fd) int shm = -1;

    if (!restore->plan.private_shm)
        return 0;
    shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (shm < 0)
        return error_set(error, "shm-load", errno, "Can't open /dev/shm");
    return shared_memory_load(snapshot_directory(restore->snapshot), shm, error);
}

int restore_begin(const struct keeper_stdio *stdio, void *context, struct keeper_begun *ret_begun,
                  struct error *error)
{
    const struct restore *restore = context;
    CLEANUP(close_fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    CLEANUP(free_ptr) int *fds = stand_in_fds(&restore->plan, stdio, null);
    struct criu_launch launch = {
        .binary = restore->criu.path,
        .plugin_directory = restore->plugins,
        .images_directory = restore->images,
        .work_directory = restore->work,
        .plugin_socket = restore->plugin,
        .messages = -1,
        .terminal = restore->plan.shell_job ? stdio->terminal : -1,
        .personality = restore->plan.personality,
        .inherited = fds,
        .inherited_count = restore->plan.stand_in_count,
        .least_pid = restore->mode == WORKLOAD_OWN_PIDS ? restore->plan.highest_id + 200 : 0,
    };
    pid_t criu;
    int r = load_shm(restore, error);

    if (r == 0)
        r = criu_start_here(&launch, restore->carrier_sender, &criu, error);
    if (r == 0)
        *ret_begun = (struct keeper_begun){.root = -1, .main = -1, .helper = criu};
    return r;
}
