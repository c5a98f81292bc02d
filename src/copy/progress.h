/* SPDX-License-Identifier: Apache-2.0 */
/* How long work tells how far it is. */
#pragma once

#include <stdint.h>

/* `update` runs in the caller's process and thread, now and then; `done` never falls and reaches
 * `total` (bytes) at the end of work that succeeds. */
struct progress {
    void (*update)(void *context, uint64_t done, uint64_t total);
    void *context;
};

static inline void progress_update(const struct progress *progress, uint64_t done, uint64_t total)
{
    if (progress && progress->update)
        progress->update(progress->context, done, total);
}
