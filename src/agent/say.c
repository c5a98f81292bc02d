/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/text.h"

static enum say_level loudest = SAY_INFO;

static const char *const names[] = {"error", "warn", "info", "debug"};

void say_set_level(const char *name)
{
    loudest = text_equal(name, "trace") ? SAY_DEBUG : SAY_INFO;
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (text_equal(name, names[i]))
            loudest = (enum say_level)i;
    }
}

static void write_line(enum say_level level, json_t *fields, const char *message)
{
    CLEANUP(free_ptr) char *date = clock_date();
    json_t *line = json_pack("{ss ss ss}", "time", date, "level", names[level], "msg", message);
    CLEANUP(free_ptr) char *text = NULL;

    if (fields)
        (void)json_object_update_missing(line, fields);
    text = json_dumps(line, JSON_COMPACT);
    if (text)
        (void)fprintf(stderr, "%s\n", text);
    json_decref(line);
}

void say(const char *format, ...)
{
    CLEANUP(free_ptr) char *message = NULL;
    va_list arguments;

    va_start(arguments, format);
    message = text_vformat(format, arguments);
    va_end(arguments);
    write_line(SAY_WARNING, NULL, message);
}

void say_fields(enum say_level level, json_t *fields, const char *format, ...)
{
    CLEANUP(free_ptr) char *message = NULL;
    va_list arguments;

    if (level <= loudest) {
        va_start(arguments, format);
        message = text_vformat(format, arguments);
        va_end(arguments);
        write_line(level, fields, message);
    }
    json_decref(fields);
}
