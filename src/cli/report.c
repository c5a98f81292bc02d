/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/report.h"

#include <jansson.h>
#include <string.h>

#include "basic/catalogue.h"
#include "cli/output.h"

void print_labelled(FILE *stream, const char *label, const char *text)
{
    int column = fprintf(stream, "  %s ", label);

    print_wrapped(stream, text, (size_t)column, (size_t)column, terminal_width(stream));
}

static void report_text(const struct error *error, const struct catalogue_entry *entry)
{
    (void)fputs("snapshotctl: ", stderr);
    print_safe(stderr, error->message ? error->message : "failed");
    (void)fputc('\n', stderr);
    if (entry) {
        print_labelled(stderr, "why: ", entry->why);
        print_labelled(stderr, "do:  ", entry->cure);
    }
    (void)fprintf(stderr, "  code: %s\n", error->code ? error->code : "system");
}

static void report_json(const struct error *error, const struct catalogue_entry *entry)
{
    const char *message = error->message ? error->message : "failed";
    json_t *object = json_pack(
        "{s:s, s:o, s:s?, s:s?}", "code", error->code ? error->code : "system", "message",
        json_text(message), "why", entry ? entry->why : NULL, "cure", entry ? entry->cure : NULL);

    print_json_object(stdout, json_pack("{s:o}", "error", object));
}

void error_report(const struct error *error, bool json)
{
    const struct catalogue_entry *entry = error->code ? catalogue_find(error->code) : NULL;

    (void)fflush(stdout);
    report_text(error, entry);
    if (json)
        report_json(error, entry);
}
