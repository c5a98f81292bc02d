/* SPDX-License-Identifier: Apache-2.0 */
/* Files that others leave for this process, in places that outlive it: one that was there before
 * means nothing. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

struct stale {
    struct stat before;
    bool was_there;
};

/* What is at `path` now is old. */
struct stale stale_note(const char *path);

/* Something is at `path`, and it is not what was there before. */
bool stale_is_new(const struct stale *stale, const char *path);
