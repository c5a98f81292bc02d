/* SPDX-License-Identifier: Apache-2.0 */
/* What CRIU's log says about a failure, in words that help. */
#pragma once

#include "basic/error.h"

/*
 * Reads the log `name` in `directory`, finds the line that tells the cause and puts it into
 * `error` (which holds a failure of CRIU already): the code becomes that of a known cause where
 * the line is known, and the message gets the line. Leaves errors that are not CRIU's alone.
 */
void criu_log_explain(int directory, const char *name, struct error *error);
