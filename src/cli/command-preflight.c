/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "capture/capture.h"
#include "capture/preflight.h"
#include "cli/container-choice.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "cli/report.h"

static const char *const labels[] = {"note", "WARN", "STOP"};

static void print_finding(const struct preflight_finding *finding, bool verbose)
{
    const struct catalogue_entry *entry = catalogue_find(finding->code);
    CLEANUP(free_ptr)
    char *who = finding->pid ? text_format("process %d (%.60s): ", (int)finding->pid,
                                           finding->command ? finding->command : "?")
                             : text_copy("");
    CLEANUP(free_ptr)
    char *details = finding->details ? text_format(" (%s)", finding->details) : text_copy("");
    CLEANUP(free_ptr) char *line = text_format("%s%s%s", who, finding->what, details);
    CLEANUP(free_ptr) char *safe = text_safe(line);
    int column = printf("%s  %-18s ", labels[finding->level], finding->code);

    print_wrapped(stdout, safe, (size_t)column, 25, terminal_width(stdout));
    if (!entry || (finding->level == PREFLIGHT_NOTE && !verbose))
        return;
    print_labelled(stdout, "    why:", entry->why);
    print_labelled(stdout, "    do: ", entry->cure);
}

static void print_report(const struct preflight_report *report, bool verbose)
{
    size_t refusals = preflight_report_count(report, PREFLIGHT_REFUSE);
    size_t warnings = preflight_report_count(report, PREFLIGHT_WARN);

    for (size_t i = 0; i < report->count; i++)
        print_finding(&report->findings[i], verbose);
    if (report->omitted)
        (void)printf("and %zu more of the same kinds\n", report->omitted);
    if (refusals)
        (void)printf("A checkpoint would be refused: %zu reason%s, %zu warning%s.\n", refusals,
                     refusals == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
    else
        (void)printf("Nothing stands in the way of a checkpoint; %zu warning%s.\n", warnings,
                     warnings == 1 ? "" : "s");
}

static json_t *finding_json(const struct preflight_finding *finding)
{
    const struct catalogue_entry *entry = catalogue_find(finding->code);
    json_t *object =
        json_pack("{s:s, s:s, s:o, s:s?, s:s?}", "code", finding->code, "level",
                  preflight_level_name(finding->level), "message", json_text(finding->what), "why",
                  entry ? entry->why : NULL, "cure", entry ? entry->cure : NULL);

    if (finding->pid)
        (void)json_object_set_new(object, "pid", json_integer(finding->pid));
    if (finding->command)
        (void)json_object_set_new(object, "command", json_text(finding->command));
    if (finding->details)
        (void)json_object_set_new(object, "details", json_text(finding->details));
    return object;
}

static void print_report_json(const struct preflight_report *report)
{
    json_t *list = json_array();

    for (size_t i = 0; i < report->count; i++)
        (void)json_array_append_new(list, finding_json(&report->findings[i]));
    print_json_object(stdout, json_pack("{s:b, s:o, s:I}", "able",
                                        preflight_report_count(report, PREFLIGHT_REFUSE) == 0,
                                        "findings", list, "omitted", (json_int_t)report->omitted));
}

static enum tcp_policy tcp_of(const char *word)
{
    if (text_equal(word, "keep"))
        return TCP_KEEP;
    return text_equal(word, "close") ? TCP_CLOSE : TCP_REFUSE;
}

int command_preflight(const struct invocation *invocation, struct error *error)
{
    struct capture_request request = {
        .root = invocation->root,
        .name = operand_at(invocation, 0),
        .pid = (pid_t)option_number(invocation, "pid"),
        .tcp = tcp_of(option_text(invocation, "tcp")),
        .ghost_limit = option_number(invocation, "ghost-limit"),
        .leave_running = option_flag(invocation, "leave-running"),
        .skip_rootfs = option_flag(invocation, "no-rootfs"),
    };
    struct preflight_report report = PREFLIGHT_REPORT_INIT;
    struct container_choice choice = {0};
    int r = 0;

    if (container_is_chosen(invocation))
        r = container_choice_find(invocation, &choice, error);
    if (r == 0 && choice.pid > 0)
        request.pid = choice.pid;
    if (r == 0)
        r = capture_preflight(&request, &report, error);
    container_choice_done(&choice);
    if (r < 0)
        return r;
    if (invocation->json)
        print_report_json(&report);
    else
        print_report(&report, invocation->verbose);
    r = preflight_report_count(&report, PREFLIGHT_REFUSE) > 0 ? STATUS_REFUSED : STATUS_OK;
    preflight_report_done(&report);
    return r;
}
