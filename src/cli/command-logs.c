/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "basic/cleanup.h"
#include "cli/attach.h"
#include "cli/invocation.h"

int command_logs(const struct invocation *invocation, struct error *error)
{
    const char *name = operand_at(invocation, 0);
    struct workload workload = WORKLOAD_INIT;
    CLEANUP(free_ptr) char *log = NULL;
    int r = workload_load(invocation->root, name, &workload, error);

    if (r < 0)
        return r;
    workload_done(&workload);
    log = workload_path(invocation->root, name, "log");
    return follow_log(invocation->root, name, log, option_flag(invocation, "follow"), error);
}
