/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where an error is shown: on standard error for people, and with --json as an
 * object on standard output, too. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "basic/error.h"

void error_report(const struct error *error, bool json);

/* "  why: ..." wrapped, with later lines aligned below the first. */
void print_labelled(FILE *stream, const char *label, const char *text);
