/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "workload/record.h"

static char *command_text(const json_t *command)
{
    struct buffer text = BUFFER_INIT(1 << 16);

    for (size_t i = 0; i < json_array_size(command); i++) {
        const char *word = json_string_value(json_array_get(command, i));

        (void)buffer_printf(&text, "%s%s", i ? " " : "", word ? word : "?");
    }
    return text.data ? text.data : text_copy("");
}

static const char *state_of(const struct workload *workload, bool alive)
{
    if (alive)
        return "running";
    return workload->saved ? "saved" : "ended";
}

static json_t *describe(const struct workload *workload, bool alive, int status)
{
    json_t *object =
        json_pack("{ss ss sO? ss? ss? ss?}", "name", workload->name, "state",
                  state_of(workload, alive), "command", workload->command, "started",
                  workload->started, "from", workload->snapshot, "saved", workload->saved);

    if (alive)
        (void)json_object_set_new(object, "pid", json_integer(workload->main));
    else if (status >= 0)
        (void)json_object_set_new(object, "status", json_integer(status));
    return object;
}

static void add_row(struct table *table, const struct workload *workload, bool alive, int status)
{
    table_add(table, text_copy(workload->name));
    table_add(table, text_copy(state_of(workload, alive)));
    table_add(table, alive ? text_format("%d", (int)workload->main) : NULL);
    table_add(table, alive || status < 0 ? NULL : text_format("%d", status));
    table_add(table, text_age(workload->started ? workload->started : ""));
    table_add(table, workload->snapshot ? text_copy(workload->snapshot) : NULL);
    table_add(table, command_text(workload->command));
}

int command_ps(const struct invocation *invocation, struct error *error)
{
    struct table *table = table_new("NAME|STATE|>PID|>STATUS|STARTED|FROM|COMMAND");
    json_t *list = json_array();
    char **names = NULL;
    int r = workload_names(invocation->root, &names, error);

    for (char **name = names; r == 0 && *name; name++) {
        struct workload workload = WORKLOAD_INIT;

        if (workload_load(invocation->root, *name, &workload, NULL) == 0) {
            bool alive = workload_alive(invocation->root, *name);
            int status = -1;

            if (!alive)
                (void)workload_exit_status(invocation->root, *name, &status, NULL);
            (void)json_array_append_new(list, describe(&workload, alive, status));
            add_row(table, &workload, alive, status);
            workload_done(&workload);
        }
        free(*name);
    }
    if (r == 0 && invocation->json)
        print_json_object(stdout, json_pack("{sO}", "workloads", list));
    else if (r == 0)
        table_print(table, stdout);
    free(names);
    json_decref(list);
    table_free(table);
    return r;
}
