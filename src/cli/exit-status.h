/* SPDX-License-Identifier: Apache-2.0 */
/* Which exit status an error has. */
#pragma once

#include "basic/error.h"
#include "cli/invocation.h"

/* STATUS_USAGE, _REFUSED, _DAMAGED or _UNABLE by the error's code; else _REFUSED where `result` is
 * -EOPNOTSUPP, which is what preflight and compatibility checks return; else _FAILED. */
int exit_status_of(const struct error *error, int result);
