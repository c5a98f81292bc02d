/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"

int error_set(struct error *error, const char *code, int number, const char *format, ...)
{
    int positive = number < 0 ? -number : number;
    va_list arguments;
    char *message;

    if (error) {
        va_start(arguments, format);
        message = text_vformat(format, arguments);
        va_end(arguments);
        if (positive) {
            char *whole = text_format("%s: %s", message, strerror(positive));

            free(message);
            message = whole;
        }
        free(error->message);
        *error = (struct error){.code = code, .number = positive, .message = message};
    }
    return positive ? -positive : -EIO;
}

int error_wrap(struct error *error, int result, const char *format, ...)
{
    va_list arguments;
    char *context, *whole;

    if (!error || !error->code)
        return result;
    va_start(arguments, format);
    context = text_vformat(format, arguments);
    va_end(arguments);
    whole = text_format("%s: %s", context, error->message);
    free(context);
    free(error->message);
    error->message = whole;
    return result;
}

void error_move(struct error *to, struct error *from)
{
    if (to) {
        free(to->message);
        *to = *from;
        *from = ERROR_INIT;
    } else {
        error_done(from);
    }
}

bool error_is(const struct error *error, const char *code)
{
    return error->code && strcmp(error->code, code) == 0;
}

void error_done(struct error *error)
{
    free(error->message);
    *error = ERROR_INIT;
}
