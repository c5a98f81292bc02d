/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/text.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "image/verify.h"

static void show_bytes(void *context, uint64_t done, uint64_t total)
{
    reporter_bytes(context, done, total);
}

static void print_report_json(const struct snapshot *snapshot, const struct verify_report *report,
                              double seconds)
{
    json_t *findings = json_array();

    for (size_t i = 0; i < report->count; i++) {
        const struct verify_finding *finding = &report->findings[i];

        (void)json_array_append_new(
            findings, json_pack("{s:s, s:o, s:o}", "kind", verify_kind_name(finding->kind), "path",
                                json_text(finding->path), "text",
                                json_text(finding->text ? finding->text : "")));
    }
    print_json_object(
        stdout, json_pack("{s:s, s:s, s:b, s:I, s:I, s:f, s:o}", "id", snapshot_id(snapshot),
                          "version", snapshot_version(snapshot), "sound", report->count == 0,
                          "files", (json_int_t)report->files, "bytes", (json_int_t)report->bytes,
                          "seconds", seconds, "findings", findings));
}

static void print_report(const struct snapshot *snapshot, const struct verify_report *report,
                         double seconds)
{
    CLEANUP(free_ptr) char *bytes = text_bytes(report->bytes);
    CLEANUP(free_ptr) char *time = text_duration(seconds);
    struct table *table = table_new("KIND|FILE|");

    for (size_t i = 0; i < report->count; i++) {
        table_add(table, text_copy(verify_kind_name(report->findings[i].kind)));
        table_add(table, text_copy(report->findings[i].path));
        table_add(table, text_copy(report->findings[i].text ? report->findings[i].text : ""));
    }
    table_print(table, stdout);
    table_free(table);
    (void)printf("%s@%s is %s: %" PRIu64 " files, %s read in %s\n", snapshot_id(snapshot),
                 snapshot_version(snapshot), report->count ? "DAMAGED" : "sound", report->files,
                 bytes, time);
}

int command_verify(const struct invocation *invocation, struct error *error)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    struct verify_report report = VERIFY_REPORT_INIT;
    struct progress progress = {.update = show_bytes, .context = invocation->reporter};
    uint64_t start = clock_now_usec();
    double seconds;
    int r = snapshot_open(invocation->root, operand_at(invocation, 0), &snapshot, error);

    if (r < 0)
        return r;
    reporter_phase_begin(invocation->reporter, "verify");
    r = snapshot_verify(snapshot, VERIFY_ALL, 0, &report, &progress, error);
    seconds = clock_seconds_since(start);
    reporter_phase_end(invocation->reporter, seconds);
    if (r < 0)
        return r;
    /* With --json a damaged snapshot is a result, not an error: one document, with the findings. */
    if (invocation->json)
        print_report_json(snapshot, &report, seconds);
    else
        print_report(snapshot, &report, seconds);
    r = report.count ? STATUS_DAMAGED : 0;
    if (report.count && !invocation->json)
        r = verify_report_check(&report, error);
    verify_report_done(&report);
    return r;
}
