/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a manifest for people: fields may be missing or of another type, strings are anybody's.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The text at `path` ("source.host"), else `fallback`. Borrowed. */
const char *view_text(const json_t *object, const char *path, const char *fallback);

/* 0 when it is missing, no number or negative. */
uint64_t view_number(const json_t *object, const char *path);
double view_real(const json_t *object, const char *path);

/* The array at `path`; NULL when there is none. Borrowed. */
const json_t *view_array(const json_t *object, const char *path);

/* The value at `path`, or NULL. Borrowed. */
const json_t *view_value(const json_t *object, const char *path);

/* A command: an array of arguments joined by blanks, or a string. The caller frees it. */
char *view_command(const json_t *value);

/* CRIU's version: "4.2.1", also where the manifest has the number 40201. The caller frees it. */
char *view_criu_version(const json_t *manifest);

enum { VIEW_PROCESSES_MAXIMUM = 4096 };

/* Calls `show` for each process, parents before children, with its depth in the tree. At most
 * VIEW_PROCESSES_MAXIMUM; returns how many there are. Loops in the data do no harm. */
size_t view_process_tree(const json_t *processes,
                         void (*show)(const json_t *process, size_t depth, void *context),
                         void *context);

struct view_phase {
    const char *name;
    double start; /* seconds after the first phase; phases without a start follow one another */
    double seconds;
};

/* The caller frees the array. `*ret_total` is where the last one ends. */
struct view_phase *view_phases(const json_t *manifest, size_t *ret_count, double *ret_total);
