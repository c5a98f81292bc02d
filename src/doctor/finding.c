/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/finding.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"

const char *finding_level_name(enum finding_level level)
{
    static const char *const names[] = {"ok", "note", "warning", "failure"};

    return names[level];
}

void findings_add(struct findings *findings, const char *code, enum finding_level level,
                  const char *format, ...)
{
    struct finding *grown = allocate((findings->count + 1) * sizeof *grown);
    va_list arguments;

    if (findings->count)
        memcpy(grown, findings->list, findings->count * sizeof *grown);
    free(findings->list);
    findings->list = grown;
    va_start(arguments, format);
    grown[findings->count++] =
        (struct finding){.code = code, .level = level, .message = text_vformat(format, arguments)};
    va_end(arguments);
}

size_t findings_count(const struct findings *findings, enum finding_level level)
{
    size_t count = 0;

    for (size_t i = 0; i < findings->count; i++)
        count += findings->list[i].level == level;
    return count;
}

void findings_done(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        free(findings->list[i].message);
    free(findings->list);
    *findings = FINDINGS_INIT;
}
