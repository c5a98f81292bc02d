/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. A function that can fail returns 0 or a negative errno and fills an optional
 * `struct error`: a stable code (a key of the catalogue in basic/catalogue.h, which knows why it
 * happens and what to do), and a message to which every caller may add its context.
 * On success the error is never touched.
 */
#pragma once

#include <stdbool.h>

struct error {
    const char *code; /* static string, e.g. "criu-missing"; NULL when nothing failed */
    int number;       /* errno of the cause, positive; 0 when there is none */
    char *message;    /* owned; outermost context first */
};

#define ERROR_INIT ((struct error){0})

/*
 * Records a failure. `number` is an errno (either sign) or 0; when it is not 0 its text is added.
 * `error` may be NULL. An error already recorded is replaced.
 * Returns -|number|, or -EIO when `number` is 0, so that `return error_set(...)` is the idiom.
 */
int error_set(struct error *error, const char *code, int number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "context: " before the message. Returns `result` unchanged. */
int error_wrap(struct error *error, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Moves `from` into `to` (which may be NULL: then `from` is given up). */
void error_move(struct error *to, struct error *from);

bool error_is(const struct error *error, const char *code);

/* Gives up what the error holds and makes it empty again. */
void error_done(struct error *error);
