/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names outside of a snapshot that exist for its sake only: hard links that keep files which the
 * processes had open under names that are gone (workload/remap.h makes them). The snapshot's
 * directory lists them before they are made, so whoever removes the directory (at whatever moment
 * its writer died) takes them away, too.
 */
#pragma once

#include <jansson.h>

#include "basic/error.h"

#define KEPT_NAMES "kept-names.json"
#define KEPT_NAME_PREFIX ".stasis-remap-" /* of the last part of each; nothing else is removed */

/* Writes the list of absolute paths; there is none yet. "disk-full" or "snapshot-write". */
int kept_names_write(int directory, const json_t *paths, struct error *error);

/* Removes the names that the directory `name` in `parent` lists, then the directory. 0 or a
 * negative errno. */
int kept_names_remove_with(int parent, const char *name);
