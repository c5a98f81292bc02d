/* SPDX-License-Identifier: Apache-2.0 */
/* Some threads that do the same thing until there is nothing left. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "basic/error.h"

/* `index` is 0 in the calling thread. `stop` becomes true when another thread has failed. */
typedef int (*parallel_body)(void *context, unsigned index, const atomic_bool *stop,
                             struct error *error);

/* Runs `body` in `threads` threads, the calling one among them; fewer when the system refuses
 * more. With one, no thread is started. The first error is the result. */
int parallel_run(unsigned threads, parallel_body body, void *context, struct error *error);
