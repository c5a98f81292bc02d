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

struct remap_request {
    int images, snapshot; /* directories: of CRIU's images, of the whole snapshot */
    const char *prefix;   /* root directory of the processes as we see it: "" or "/proc/PID/root" */
    const char *skip;     /* names below it are left out; NULL: none */
    const char *id, *version;
};

/* Finds CRIU's names in the images and the names that last. `ret_list`: [{"path", "kept"}] for the
 * manifest. Names of ours go with the snapshot (image/kept-names.h), also after a failure. */
int remap_keep(const struct remap_request *request, json_t **ret_list, struct error *error);

/* Before CRIU restores: its names exist again. */
int remap_provide(const json_t *list, struct error *error);

/* After it has, or after a capture: none of its names is left that can be made again. */
void remap_withdraw(const json_t *list);

/* Names that CRIU gave deleted files in a restore that was killed: they would be in the way of the
 * next one. For when no CRIU works with these images. */
void remap_clear_ghosts(int images);
