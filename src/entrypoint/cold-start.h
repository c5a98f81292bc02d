/* SPDX-License-Identifier: Apache-2.0 */
/* No restore: this process becomes the container's command. */
#pragma once

#include <signal.h>

#include "entrypoint/settings.h"

/* What an earlier container has left and would mislead the command is removed before: the marker
 * that says "restored", and the file that tells a checkpoint job to end. */
void cold_start_clean(const struct settings *settings);

/* Takes out of the environment what makes a program stand still until an agent speaks to it: nobody
 * will, once a restore was given up. */
void cold_start_forget(void);

/* `command` ends with NULL; where it is empty, DEFAULT_CMD counts. Returns only with the status to
 * end with. */
int cold_start(const struct settings *settings, char **command, const sigset_t *before);
