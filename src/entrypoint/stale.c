/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/stale.h"

struct stale stale_note(const char *path)
{
    struct stale stale = {.was_there = false};

    stale.was_there = stat(path, &stale.before) == 0;
    return stale;
}

bool stale_is_new(const struct stale *stale, const char *path)
{
    struct stat now;

    if (stat(path, &now) < 0)
        return false;
    return !stale->was_there || now.st_ino != stale->before.st_ino ||
           now.st_ctim.tv_sec != stale->before.st_ctim.tv_sec ||
           now.st_ctim.tv_nsec != stale->before.st_ctim.tv_nsec;
}
