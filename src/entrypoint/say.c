/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/say.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"

/* One write a line: the restored program may write to the same place. */
void say(const char *format, ...)
{
    CLEANUP(free_ptr) char *text = NULL, *line = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    line = text_format("restore-entrypoint: %s\n", text);
    (void)!write(STDERR_FILENO, line, strlen(line));
}
