/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/operation.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "image/store-directory.h"

static void note(struct reporter *reporter, const char *message)
{
    struct operation *operation =
        (struct operation *)((char *)reporter - offsetof(struct operation, reporter));

    operation_note(operation, "%s", message);
}

static const struct reporter_operations reporter_operations = {.note = note};

void operation_note(struct operation *operation, const char *format, ...)
{
    json_t *notes = json_object_get(operation->result, "notes");
    CLEANUP(free_ptr) char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    if (!notes) {
        notes = json_array();
        (void)json_object_set_new(operation->result, "notes", notes);
    }
    (void)json_array_append_new(notes, json_string(text));
}

/* What may go better next time. */
static bool is_passing(const char *code)
{
    static const char *const codes[] = {"criu-",          "cuda-",          "grpc-",
                                        "operation-lost", "agent-",         "checkpoint-running",
                                        "disk-full",      "snapshot-write", "injected",
                                        "vfork-parent",   "process-gone"};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (text_starts_with(code, codes[i]))
            return true;
    }
    return false;
}

bool operation_is_final(struct operation *operation, const struct error *failure)
{
    bool final = operation->order->last || !is_passing(failure->code);

    if (error_is(failure, "interrupted"))
        return false;
    if (final)
        (void)json_object_set_new(operation->result, "final", json_true());
    return final;
}

static int find(struct operation *operation, struct error *error)
{
    const struct order *order = operation->order;
    CLEANUP(free_ptr) char *name = NULL;
    struct runtime *runtime = NULL;
    int r =
        runtime_open(operation->settings->runtime_endpoint, RUNTIME_TIMEOUT_MSEC, &runtime, error);

    if (r < 0)
        return r;
    name = order->container_id
               ? text_copy(order->container_id)
               : text_format("%s/%s/%s", order->namespace, order->pod, order->container);
    r = runtime_find(runtime, name, &operation->container, error);
    runtime_free(runtime);
    return r;
}

int operation_find(struct operation *operation, struct error *error)
{
    const struct order *order = operation->order;
    int r = find(operation, error);

    if (r < 0)
        return r;
    (void)json_object_set_new(operation->result, "container_id",
                              json_string(operation->container.id));
    if (order->uid && !text_equal(order->uid, operation->container.pod_uid))
        return error_set(error, "pod-replaced", ESTALE,
                         "The pod '%s/%s' on this node is another than the one that was meant",
                         order->namespace, order->pod);
    return 0;
}

int operation_refuse(struct operation *operation, struct error *error)
{
    const struct order *order = operation->order;
    const struct catalogue_entry *entry =
        order->problem_code ? catalogue_find(order->problem_code) : NULL;

    if (!order->problem_code)
        return 0;
    (void)json_object_set_new(operation->result, "refused", json_true());
    return error_set(error, entry ? entry->code : "agent-order", 0, "%s",
                     order->problem ? order->problem : order->problem_code);
}

static int list(const struct operation *operation, json_t *snapshots, struct error *error)
{
    struct snapshot_list found = SNAPSHOT_LIST_INIT;
    int r = store_list(operation->base, NULL, &found, error);

    for (size_t i = 0; r == 0 && i < found.count; i++) {
        const struct snapshot_entry *entry = &found.entries[i];

        (void)json_array_append_new(
            snapshots,
            json_pack("{ss ss ss ss* ss* sI}", "id", entry->id, "version", entry->version, "state",
                      snapshot_state_name(entry->state), "created", entry->created, "problem",
                      entry->problem, "bytes", (json_int_t)entry->bytes));
    }
    snapshot_list_done(&found);
    return r;
}

int operation_list(struct operation *operation, struct error *error)
{
    json_t *snapshots = json_array();

    operation->base = text_copy(operation->settings->base_path);
    (void)json_object_set_new(operation->result, "snapshots", snapshots);
    return list(operation, snapshots, error);
}

static int carry_out(struct operation *operation, struct error *error)
{
    switch (operation->order->kind) {
    case ORDER_CAPTURE:
        return operation_capture(operation, error);
    case ORDER_RESTORE:
        return operation_restore(operation, error);
    case ORDER_TELL:
        return operation_tell(operation, error);
    case ORDER_LIST:
        return operation_list(operation, error);
    }
    return error_set(error, "agent-order", EINVAL, "An order of an unknown kind");
}

static void record_failure(json_t *result, const struct error *error)
{
    const struct catalogue_entry *entry = catalogue_find(error->code);

    (void)json_object_set_new(result, "code", json_string(error->code));
    (void)json_object_set_new(result, "message", json_string(error->message));
    if (entry)
        (void)json_object_set_new(result, "cure", json_string(entry->cure));
}

json_t *operation_run(const struct order *order, const struct agent_settings *settings)
{
    struct operation operation = {.order = order,
                                  .settings = settings,
                                  .container = CONTAINER_INIT,
                                  .reporter = {&reporter_operations},
                                  .result = json_object()};
    struct error error = ERROR_INIT;
    int r = carry_out(&operation, &error);

    (void)json_object_set_new(operation.result, "ok", json_boolean(r == 0));
    if (r < 0)
        record_failure(operation.result, &error);
    operation_close_base(&operation);
    container_done(&operation.container);
    free(operation.base);
    error_done(&error);
    return operation.result;
}
