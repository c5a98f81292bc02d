/* SPDX-License-Identifier: Apache-2.0 */
/* SIGINT and SIGTERM as a question that steps ask between each other, so that whatever was begun is
 * undone in order instead of being cut off. */
#pragma once

#include "basic/error.h"

/* From now on SIGINT, SIGTERM and SIGHUP only leave a note; a second one ends the program. */
void interrupt_catch(void);

/* 0, or "interrupted" (-EINTR) when such a signal has come. */
int interrupt_check(struct error *error);
