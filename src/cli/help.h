/* SPDX-License-Identifier: Apache-2.0 */
/* Help from the table of commands. */
#pragma once

#include <stdio.h>

#include "cli/command.h"

/* The overview. */
void help_overview(FILE *stream);

/* What a command does, its options with defaults and examples, its exit statuses. */
void help_command(FILE *stream, const struct command *command);

/* "[OPTION...] ID[@VERSION]": what stands behind the command's name; the caller frees it. */
char *command_synopsis(const struct command *command);
