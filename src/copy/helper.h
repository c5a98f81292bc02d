/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work in a leaf child (basic/leaf.h), where threads are allowed, with progress and errors as if it
 * ran here. Results travel through memory that both share (helper_memory) or through files.
 * The child is killed when this process ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "basic/error.h"
#include "copy/progress.h"

struct helper;

typedef int (*helper_work)(void *context, const struct progress *progress, struct error *error);

/* Starts the child. `reports`: it sends its progress (else helper_fd stays silent until the end).*/
int helper_start(helper_work work, void *context, bool reports, struct helper **ret_helper,
                 struct error *error);

/* Readable when there is something for helper_poll. Stays the helper's. */
int helper_fd(const struct helper *helper);

/* Takes what the child has said so far. Never blocks. 1: it has ended (call helper_finish), 0: it
 * still runs. */
int helper_poll(struct helper *helper, const struct progress *progress);

/* Waits for the end; the result and the error of the work. "interrupted" when a signal was noted
 * (basic/interrupt.h) meanwhile: the child is killed then. */
int helper_finish(struct helper *helper, const struct progress *progress, struct error *error);

/* Kills what still runs. NULL is nothing. */
void helper_free(struct helper *helper);

/* Start, finish and free in one. */
int helper_run(helper_work work, void *context, const struct progress *progress,
               struct error *error);

/* Zeroed memory shared with children started later; NULL when there is none. */
void *helper_memory(size_t size);
void helper_memory_free(void *memory, size_t size);
