/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that a process has open under a name that is gone, while another name still exists. CRIU
 * gives such a file a temporary name (link_remap.N) beside the old one and uses it up at the first
 * restore. So that a snapshot can be restored again and again, the file's other name is recorded,
 * or, where that is in another directory, a second name of ours (".stasis-remap-…", a hard link)
 * is made, which lasts as long as the snapshot.
 */
#pragma once

#include <jansson.h>

#include "basic/error.h"

/* Finds CRIU's names in the images and the names that last. `prefix`: the root directory of the
 * processes as we see it ("" or "/proc/PID/root"); names below `skip` (NULL: none) are left out.
 * `ret_list`: [{"path", "kept"}] for the manifest. */
int remap_keep(int images, const char *prefix, const char *skip, const char *id,
               const char *version, json_t **ret_list, struct error *error);

/* Before CRIU restores: its names exist again. */
int remap_provide(const json_t *list, struct error *error);

/* After it has, or after a capture: none of its names is left that can be made again. */
void remap_withdraw(const json_t *list);

/* The snapshot is no more: our names go, too. Only names of our own form are removed. */
void remap_forget(const json_t *list);
