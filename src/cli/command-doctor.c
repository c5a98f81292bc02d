/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>

#include "basic/catalogue.h"
#include "basic/text.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "cli/report.h"
#include "doctor/machine.h"

static const char *const labels[] = {"ok  ", "note", "WARN", "FAIL"};

static void print_finding(const struct finding *finding, bool verbose)
{
    const struct catalogue_entry *entry = catalogue_find(finding->code);
    int column = printf("%s  ", labels[finding->level]);

    column += printf("%-18s ", finding->code);
    print_wrapped(stdout, finding->message, (size_t)column, 25, terminal_width(stdout));
    if (!entry || (finding->level < FINDING_WARNING && !verbose))
        return;
    print_labelled(stdout, "    why:", entry->why);
    if (finding->level > FINDING_OK)
        print_labelled(stdout, "    do: ", entry->cure);
}

static void print_findings(const struct findings *findings, bool verbose)
{
    size_t failures = findings_count(findings, FINDING_FAILURE);
    size_t warnings = findings_count(findings, FINDING_WARNING);

    for (size_t i = 0; i < findings->count; i++)
        print_finding(&findings->list[i], verbose);
    (void)fputc('\n', stdout);
    if (failures)
        (void)printf("Snapshots can't work here yet: %zu failure%s, %zu warning%s.\n", failures,
                     failures == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
    else
        (void)printf("This machine can take and restore snapshots; %zu warning%s.\n", warnings,
                     warnings == 1 ? "" : "s");
}

static void print_findings_json(const struct findings *findings, const struct machine_speed *speed)
{
    json_t *list = json_array(), *report;

    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        const struct catalogue_entry *entry = catalogue_find(finding->code);

        (void)json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:o, s:s?, s:s?}", "code", finding->code, "level",
                      finding_level_name(finding->level), "message", json_text(finding->message),
                      "why", entry ? entry->why : NULL, "cure", entry ? entry->cure : NULL));
    }
    report = json_pack("{s:b, s:o}", "able", findings_count(findings, FINDING_FAILURE) == 0,
                       "findings", list);
    if (speed->write > 0)
        (void)json_object_set_new(report, "speed",
                                  json_pack("{s:f, s:f}", "write_bytes_per_second", speed->write,
                                            "read_bytes_per_second", speed->read));
    print_json_object(stdout, report);
}

int command_doctor(const struct invocation *invocation, struct error *error)
{
    struct machine_request request = {.root = invocation->root,
                                      .measure_speed = option_flag(invocation, "speed"),
                                      .reporter = invocation->reporter};
    struct findings findings = FINDINGS_INIT;
    struct machine_speed speed;
    int status;

    (void)error;
    machine_examine(&request, &findings, &speed);
    if (invocation->json)
        print_findings_json(&findings, &speed);
    else
        print_findings(&findings, invocation->verbose);
    status = findings_count(&findings, FINDING_FAILURE) ? STATUS_UNABLE : STATUS_OK;
    findings_done(&findings);
    return status;
}
