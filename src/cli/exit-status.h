/* SPDX-License-Identifier: Apache-2.0 */
/* Which exit status an error has. */
#pragma once

#include "basic/error.h"
#include "cli/invocation.h"

/* By the error's code: STATUS_USAGE, _REFUSED, _DAMAGED, _UNABLE, else _FAILED. */
int exit_status_of(const struct error *error);
