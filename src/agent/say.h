/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's log: a line of JSON each on standard error, with time and level. */
#pragma once

#include <jansson.h>

enum say_level { SAY_ERROR, SAY_WARNING, SAY_INFO, SAY_DEBUG };

/* "trace", "debug", "info", "warn", "error"; anything else is "info". */
void say_set_level(const char *name);

void say(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a warning */

/* `fields` (taken over; may be NULL): what a machine may want to find again. */
void say_fields(enum say_level level, json_t *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
