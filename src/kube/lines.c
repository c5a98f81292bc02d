/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/lines.h"

#include <string.h>

enum { KEPT_CAPACITY = 64 << 10 };

/* A large line does not leave its memory behind. */
static void empty(struct buffer *line)
{
    if (line->capacity > KEPT_CAPACITY) {
        size_t maximum = line->maximum;

        buffer_done(line);
        *line = BUFFER_INIT(maximum);
    }
    line->length = 0;
}

int line_splitter_feed(struct line_splitter *splitter, const char *data, size_t length,
                       line_function *function, void *context)
{
    struct buffer *line = &splitter->line;
    int r = 0;

    while (length > 0 && r >= 0) {
        const char *end = memchr(data, '\n', length);
        size_t piece = end ? (size_t)(end - data) : length, used = piece + (end != NULL);

        r = buffer_append(line, data, piece);
        if (r < 0)
            break;
        data += used;
        length -= used;
        if (!end)
            break;
        if (line->length > 0 && line->data[line->length - 1] == '\r')
            line->data[--line->length] = '\0';
        if (line->length > 0)
            r = function(line->data, line->length, context);
        empty(line);
    }
    return r < 0 ? r : 0;
}

int line_splitter_is_within(const struct line_splitter *splitter)
{
    return splitter->line.length > 0;
}

void line_splitter_done(struct line_splitter *splitter)
{
    buffer_done(&splitter->line);
}
