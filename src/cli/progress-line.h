/* SPDX-License-Identifier: Apache-2.0 */
/* A reporter (basic/reporter.h) that shows progress on a stream. */
#pragma once

#include <stdio.h>

#include "basic/reporter.h"

enum progress_mode {
    PROGRESS_NONE,
    PROGRESS_LINE,  /* one line, redrawn at most ten times a second */
    PROGRESS_PLAIN, /* a line for each finished phase */
    PROGRESS_JSON,  /* an object a line */
};

/* "auto" looks at the stream; other words are those of --progress. */
enum progress_mode progress_mode_parse(const char *word, FILE *stream);

struct progress_line;

struct progress_line *progress_line_new(enum progress_mode mode, FILE *stream);

/* For those who do the work. */
struct reporter *progress_line_reporter(struct progress_line *line);

/* Takes a line that is being drawn off the terminal, so that something else can be printed. */
void progress_line_clear(struct progress_line *line);

/* Clears and frees; NULL is nothing. */
void progress_line_free(struct progress_line *line);
