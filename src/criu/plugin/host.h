/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugin uses of the CRIU that has loaded it: all optional, found at run time. */
#pragma once

#include <stdbool.h>

/* Into CRIU's log. A line break is added. */
void criu_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Records that a restore of these images needs this plugin. */
void inventory_add(void);

/* At restore: claims that record. False: the images do not need this plugin. */
bool inventory_claim(void);

/* Tasks have to be stopped by ptrace, one by one, never by a cgroup freezer: their restore threads
 * must be able to run. */
void freezer_avoid(void);
