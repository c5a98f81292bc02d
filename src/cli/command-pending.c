/* SPDX-License-Identifier: Apache-2.0 */
/* TODO: stand-ins, each replaced by a file of its own. */
#include <errno.h>

#include "cli/invocation.h"
#define PENDING(which)                                                              \
    int command_##which(const struct invocation *invocation, struct error *error)   \
    {                                                                               \
        return error_set(error, "system", ENOSYS, "%s", invocation->command->name); \
    }

PENDING(preflight)
