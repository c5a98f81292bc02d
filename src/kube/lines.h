/* SPDX-License-Identifier: Apache-2.0 */
/* Lines out of pieces that end anywhere. */
#pragma once

#include <stddef.h>

#include "basic/text.h"

struct line_splitter {
    struct buffer line; /* what has come of a line that is not complete */
};

#define LINE_SPLITTER_INIT(max) ((struct line_splitter){.line = BUFFER_INIT(max)})

/* As kube_line_function: zero terminated, without the newline; negative: stop. */
typedef int line_function(char *line, size_t length, void *context);

/* Calls for each line that is complete now; empty ones are passed over. 0, what the function
 * returned, or -EFBIG for a line over the maximum. */
int line_splitter_feed(struct line_splitter *splitter, const char *data, size_t length,
                       line_function *function, void *context);

/* Whether the last line has no end yet. */
int line_splitter_is_within(const struct line_splitter *splitter);

void line_splitter_done(struct line_splitter *splitter);
