/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/exit-status.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/suggest.h"

static json_t *entry_json(const struct catalogue_entry *entry)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "code", entry->code, "title", entry->title, "why",
                     entry->why, "cure", entry->cure);
}

static int explain_all(bool json)
{
    size_t count;
    const struct catalogue_entry *entries = catalogue_entries(&count);
    json_t *list = json ? json_array() : NULL;
    struct table *table = table_new("CODE|MEANING");

    for (size_t i = 0; i < count; i++) {
        if (list)
            (void)json_array_append_new(list, entry_json(&entries[i]));
        table_add(table, text_copy(entries[i].code));
        table_add(table, text_copy(entries[i].title));
    }
    if (list)
        print_json_object(stdout, json_pack("{s:o}", "codes", list));
    else
        table_print(table, stdout);
    table_free(table);
    return 0;
}

static int unknown_code(const char *code, struct error *error)
{
    struct suggestion suggestion = {.typed = code};
    size_t count;
    const struct catalogue_entry *entries = catalogue_entries(&count);

    for (size_t i = 0; i < count; i++)
        suggestion_offer(&suggestion, entries[i].code, strlen(entries[i].code));
    if (suggestion.best)
        return error_set(error, "usage", 0, "No code is called '%s'; did you mean '%s'?", code,
                         suggestion.best);
    return error_set(error, "usage", 0,
                     "No code is called '%s'; `snapshotctl explain` lists all of them", code);
}

int command_explain(const struct invocation *invocation, struct error *error)
{
    const char *code = operand_at(invocation, 0);
    const struct catalogue_entry *entry = code ? catalogue_find(code) : NULL;

    if (!code)
        return explain_all(invocation->json);
    if (!entry)
        return unknown_code(code, error);
    if (invocation->json) {
        print_json_object(stdout, entry_json(entry));
        return 0;
    }
    (void)printf("%s: %s\n", entry->code, entry->title);
    print_labelled(stdout, "why: ", entry->why);
    print_labelled(stdout, "do:  ", entry->cure);
    return 0;
}
