/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/error.h"

/* Lets the CRIU at `path` save a small process (threads of two, a pipe, a listening TCP socket)
 * that goes on running, and tells its version. Nothing is left behind. */
int criu_trial(const char *path, unsigned *ret_version, struct error *error);
