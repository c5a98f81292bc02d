/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <limits.h>
#include <stdio.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "image/store-gc.h"

static void print_result_json(const struct gc_result *result, bool dry_run)
{
    json_t *items = json_array();

    for (size_t i = 0; i < result->count; i++) {
        const struct gc_item *item = &result->items[i];

        (void)json_array_append_new(
            items, json_pack("{s:s, s:o, s:o*, s:o, s:I, s:o*}", "kind", gc_kind_name(item->kind),
                             "id", json_text(item->id), "version",
                             item->version ? json_text(item->version) : NULL, "path",
                             json_text(item->path), "bytes", (json_int_t)item->bytes, "problem",
                             item->problem ? json_text(item->problem) : NULL));
    }
    print_json_object(stdout, json_pack("{s:b, s:I, s:o}", "dry_run", dry_run, "bytes",
                                        (json_int_t)result->bytes, "items", items));
}

static void print_result(const struct gc_result *result, bool dry_run)
{
    struct table *table = table_new("KIND|ID|>VERSION|>SIZE|PROBLEM");
    CLEANUP(free_ptr) char *bytes = text_bytes(result->bytes);

    for (size_t i = 0; i < result->count; i++) {
        const struct gc_item *item = &result->items[i];

        table_add(table, text_copy(gc_kind_name(item->kind)));
        table_add(table, text_copy(item->id));
        table_add(table, item->version ? text_copy(item->version) : NULL);
        table_add(table, text_bytes(item->bytes));
        table_add(table, text_copy(item->problem ? item->problem : ""));
    }
    table_print(table, stdout);
    table_free(table);
    (void)printf("%s %s\n", dry_run ? "would free" : "freed", bytes);
}

static size_t problems(const struct gc_result *result)
{
    size_t count = 0;

    for (size_t i = 0; i < result->count; i++)
        count += result->items[i].problem != NULL;
    return count;
}

int command_gc(const struct invocation *invocation, struct error *error)
{
    uint64_t keep = option_number(invocation, "keep");
    struct gc_options options = {
        .by_count = option_given(invocation, "keep"),
        .keep = keep > UINT_MAX ? UINT_MAX : (unsigned)keep,
        .by_age = option_given(invocation, "older-than"),
        .older_than = (uint64_t)option_seconds(invocation, "older-than"),
        .dry_run = option_flag(invocation, "dry-run"),
    };
    struct gc_result result = GC_RESULT_INIT;
    int r = store_gc(invocation->root, &options, &result, error);

    if (r < 0)
        return r;
    if (invocation->json)
        print_result_json(&result, options.dry_run);
    else
        print_result(&result, options.dry_run);
    r = problems(&result) ? STATUS_FAILED : STATUS_OK;
    gc_result_done(&result);
    return r;
}
