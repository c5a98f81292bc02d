/* SPDX-License-Identifier: Apache-2.0 */
/* The control directory ($SNAPSHOT_CONTROL_DIR): files by which an agent says how a restore went.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "entrypoint/stale.h"

/* The name (prctl(2), PR_SET_NAME) of a first process that waits for an agent, and of one that does
 * not; as long as it has that of its program, it has yet to decide. */
#define ENTRYPOINT_WAITS "waits-for-agent"
#define ENTRYPOINT_ALONE "needs-no-agent"

struct control {
    const char *directory; /* NULL: there is none */
    struct stale complete; /* a "restore-complete" of before this container started */
};

struct control control_open(void);

/* What "restore-failed" says: why the restore failed, in a line; NULL: it is not there. Without a
 * control directory it is looked for at /snapshot-control. The caller frees it. */
char *control_failure(const struct control *control);

/* The N of the line "pid=N" in "restore-complete", or 0. */
pid_t control_restored(const struct control *control);
pid_t control_parse(const char *text);
