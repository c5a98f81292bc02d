/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"

/* A hundred workers with the same descriptor are one story. */
#define FINDINGS_PER_CODE 16
#define REFUSALS_IN_MESSAGE 8

const char *preflight_level_name(enum preflight_level level)
{
    switch (level) {
    case PREFLIGHT_REFUSE:
        return "refuse";
    case PREFLIGHT_WARN:
        return "warn";
    default:
        return "note";
    }
}

void preflight_report_done(struct preflight_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->findings[i].command);
        free(report->findings[i].what);
        free(report->findings[i].details);
    }
    free(report->findings);
    *report = PREFLIGHT_REPORT_INIT;
}

static size_t count_of_code(const struct preflight_report *report, const char *code,
                            enum preflight_level level)
{
    size_t count = 0;

    for (size_t i = 0; i < report->count; i++)
        count += text_equal(report->findings[i].code, code) && report->findings[i].level == level;
    return count;
}

/* A place before all findings of a lower level. */
static struct preflight_finding *insert(struct preflight_report *report, enum preflight_level level)
{
    size_t place = report->count;
    struct preflight_finding *grown =
        realloc(report->findings, (report->count + 1) * sizeof *grown);

    if (!grown)
        abort(); /* bounded by codes times FINDINGS_PER_CODE */
    report->findings = grown;
    while (place > 0 && grown[place - 1].level < level)
        place--;
    memmove(&grown[place + 1], &grown[place], (report->count - place) * sizeof *grown);
    report->count++;
    return &grown[place];
}

void finding_add(struct inspection *inspection, const char *code, enum preflight_level level,
                 const struct process *process, char *details, const char *format, ...)
{
    struct preflight_report *report = &inspection->report;
    struct preflight_finding *finding;
    va_list arguments;

    if (count_of_code(report, code, level) >= FINDINGS_PER_CODE) {
        report->omitted++;
        free(details);
        return;
    }
    finding = insert(report, level);
    *finding = (struct preflight_finding){.code = code, .level = level, .details = details};
    if (process) {
        finding->pid = process->pid;
        finding->command = text_copy(process->command);
    }
    va_start(arguments, format);
    finding->what = text_vformat(format, arguments);
    va_end(arguments);
}

size_t preflight_report_count(const struct preflight_report *report, enum preflight_level level)
{
    size_t count = 0;

    for (size_t i = 0; i < report->count; i++)
        count += report->findings[i].level == level;
    return count;
}

static void append_refusal(struct buffer *message, const struct preflight_finding *finding)
{
    if (message->length)
        (void)buffer_printf(message, "; ");
    if (finding->pid)
        (void)buffer_printf(message, "process %d (%.60s): ", (int)finding->pid, finding->command);
    (void)buffer_printf(message, "%s", finding->what);
    if (finding->details)
        (void)buffer_printf(message, " (%s)", finding->details);
    (void)buffer_printf(message, " [%s]", finding->code);
}

int preflight_report_error(const struct preflight_report *report, struct error *error)
{
    size_t refusals = preflight_report_count(report, PREFLIGHT_REFUSE);
    struct buffer message = BUFFER_INIT(65536);
    int r;

    if (refusals == 0)
        return 0;
    for (size_t i = 0; i < refusals && i < REFUSALS_IN_MESSAGE; i++)
        append_refusal(&message, &report->findings[i]);
    if (refusals > REFUSALS_IN_MESSAGE)
        (void)buffer_printf(&message, "; and %zu more", refusals - REFUSALS_IN_MESSAGE);
    r = error_set(error, report->findings[0].code, 0, "%s", message.data ? message.data : "");
    buffer_done(&message);
    return r == -EIO ? -EOPNOTSUPP : r;
}
