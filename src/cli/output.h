/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers print with: text that can't upset a terminal, tables, sizes and ages, JSON. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Columns of the terminal behind `stream` ($COLUMNS wins), between 40 and 120; else 80. */
size_t terminal_width(FILE *stream);

/* Control characters and malformed UTF-8 come out as \xNN; a snapshot's strings are not ours. */
void print_safe(FILE *stream, const char *text);

/* The same as a string; the caller frees it. */
char *text_safe(const char *text);

/* Breaks lines at blanks. The first line starts in column `column` (what stands there is printed
 * already), later lines are indented by `indent`. Ends with a newline. "\n\n" ends a paragraph. */
void print_wrapped(FILE *stream, const char *text, size_t column, size_t indent, size_t width);

/* "3 min", "2 days": how long ago a date ("2026-11-21T10:11:12Z") was; "?" when it is no date. The
 * caller frees it. */
char *text_age(const char *date);

/* "1.5 ms", "0.42 s", "3 min 5 s". The caller frees it. */
char *text_duration(double seconds);

/* A JSON string of any bytes: malformed UTF-8 is replaced. */
json_t *json_text(const char *text);

/* Prints with a newline and gives up `object`. Indented on a terminal and for people. */
void print_json_object(FILE *stream, json_t *object);

/* A table: a heading, rows, columns as wide as they need to be; columns without any text are left
 * out. At most 16 columns. */
struct table;

/* `headings` "ID|VERSION|>SIZE": '>' aligns right. */
struct table *table_new(const char *headings);

/* Takes over `text` (NULL: "-") as the next cell; rows fill from left to right. */
void table_add(struct table *table, char *text);

/* Prints to `stream`; nothing when there is no row. */
void table_print(const struct table *table, FILE *stream);
void table_free(struct table *table);
