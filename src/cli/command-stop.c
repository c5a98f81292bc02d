/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/invocation.h"
#include "cli/output.h"
#include "workload/record.h"
#include "workload/stop.h"

int command_stop(const struct invocation *invocation, struct error *error)
{
    const char *name = operand_at(invocation, 0);
    int status = -1;
    int r = workload_stop(invocation->root, name,
                          (unsigned)(option_seconds(invocation, "timeout") * 1000), error);

    if (r < 0)
        return r;
    (void)workload_exit_status(invocation->root, name, &status, NULL);
    if (invocation->json)
        print_json_object(stdout, json_pack("{ss si}", "name", name, "status", status));
    return 0;
}
