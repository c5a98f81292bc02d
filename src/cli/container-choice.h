/* SPDX-License-Identifier: Apache-2.0 */
/* Which container a command line means: --container (with --runtime, --runtime-state), or
 * --container-pid. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "cli/invocation.h"

struct container_choice {
    pid_t pid;     /* its first process */
    json_t *facts; /* what its runtime says, for a manifest; NULL: no runtime was asked */
};

/* Whether the command line names a container. */
bool container_is_chosen(const struct invocation *invocation);

/* container_choice_done gives it up. Errors: those of container/runtime.h. */
int container_choice_find(const struct invocation *invocation, struct container_choice *ret_choice,
                          struct error *error);

/* What to call a snapshot of it: its name, or the beginning of its id; NULL: nothing is known. It
 * stays the choice's. */
const char *container_choice_id(const struct container_choice *choice);

void container_choice_done(struct container_choice *choice);
