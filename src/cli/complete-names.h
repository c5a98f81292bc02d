/* SPDX-License-Identifier: Apache-2.0 */
/* Names that exist on this machine now. Each list ends with NULL; list and names are the caller's.
 * What can't be read is an empty list: completion has nowhere to show errors. */
#pragma once

#include <stdbool.h>

/* `root` may be NULL: then STASIS_ROOT or the default. With versions: "ID@VERSION", else ids. */
char **snapshot_references(const char *root, bool with_versions);
char **known_workloads(const char *root);
char **process_ids(void);
