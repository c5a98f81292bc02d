/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/complete.h"
#include "cli/invocation.h"

int command_completion(const struct invocation *invocation, struct error *error)
{
    (void)error;
    /* The parser lets only known shells through. */
    (void)fputs(completion_script(operand_at(invocation, 0)), stdout);
    return 0;
}

int command_complete(const struct invocation *invocation, struct error *error)
{
    (void)error;
    complete(invocation->operands, invocation->operand_count, stdout);
    return 0;
}
