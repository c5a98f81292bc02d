/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "image/store-directory.h"

static void print_list_json(const struct snapshot_list *list, const char *root)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++) {
        const struct snapshot_entry *entry = &list->entries[i];

        (void)json_array_append_new(
            array, json_pack("{s:o, s:o, s:s, s:o*, s:o*, s:I, s:o}", "id", json_text(entry->id),
                             "version", json_text(entry->version), "state",
                             snapshot_state_name(entry->state), "created",
                             entry->created ? json_text(entry->created) : NULL, "problem",
                             entry->problem ? json_text(entry->problem) : NULL, "bytes",
                             (json_int_t)entry->bytes, "reference",
                             json_sprintf("%s@%s", entry->id, entry->version)));
    }
    print_json_object(stdout, json_pack("{s:o, s:o}", "root", json_text(root), "snapshots", array));
}

static void print_list(const struct snapshot_list *list, const char *root)
{
    struct table *table = table_new("ID|>VERSION|STATE|>AGE|>SIZE|PROBLEM");

    for (size_t i = 0; i < list->count; i++) {
        const struct snapshot_entry *entry = &list->entries[i];

        table_add(table, text_copy(entry->id));
        table_add(table, text_copy(entry->version));
        table_add(table, text_copy(snapshot_state_name(entry->state)));
        table_add(table, entry->created ? text_age(entry->created) : NULL);
        table_add(table, text_bytes(entry->bytes));
        table_add(table, text_copy(entry->problem ? entry->problem : ""));
    }
    table_print(table, stdout);
    table_free(table);
    if (list->count == 0)
        (void)fprintf(stderr, "No snapshots below %s.\n", root);
}

int command_list(const struct invocation *invocation, struct error *error)
{
    const char *id = operand_at(invocation, 0);
    struct snapshot_list list = SNAPSHOT_LIST_INIT;
    int r = id ? snapshot_id_check(id, error) : 0;

    if (r == 0)
        r = store_list(invocation->root, id, &list, error);
    if (r < 0)
        return r;
    if (invocation->json)
        print_list_json(&list, invocation->root);
    else
        print_list(&list, invocation->root);
    snapshot_list_done(&list);
    return 0;
}
