/* SPDX-License-Identifier: Apache-2.0 */
/* Is there a snapshot that a restore may come from? */
#pragma once

#include <stdbool.h>

#include "entrypoint/settings.h"

/* Where a snapshot is: <root>/<id>. */
struct snapshot_place {
    char *root, *id; /* owned; NULL: none */
};

void snapshot_place_done(struct snapshot_place *place);

/* From a path whose last name is the snapshot's. -EINVAL: it has none. */
int snapshot_place_parse(const char *path, struct snapshot_place *ret_place);

/* That which the environment names. `ret_reason` (the caller frees it) says why there is none. */
int snapshot_place_named(const struct settings *settings, struct snapshot_place *ret_place,
                         char **ret_reason);

/* Whether a capture has ended well there: checkpoint.done says so, and there is a complete version.
 * `ret_reason` says why or why not, for people; the caller frees it. */
bool snapshot_is_there(const struct snapshot_place *place, char **ret_reason);

/* What smart-entrypoint does: whether to go on to a restore, or to the command at once. */
bool decision_make(const struct settings *settings, char **ret_reason);

/* The text of checkpoint.done. */
bool decision_done_is_success(const char *text);
