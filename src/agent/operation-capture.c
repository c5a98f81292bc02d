/* SPDX-License-Identifier: Apache-2.0 */
/* A capture: the snapshot, the word that it is complete, older ones out, the workload told. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/deliver.h"
#include "agent/operation.h"
#include "agent/words.h"
#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "capture/capture.h"
#include "image/layout.h"
#include "image/snapshot.h"
#include "image/store-gc.h"

/* What both the signal file and checkpoint.done hold. */
static char *verdict_text(const struct operation *operation, const char *problem)
{
    const char *id = operation->order->id;
    CLEANUP(free_ptr)
    char *path = id ? text_format("%s/%s", operation->settings->base_path, id) : NULL;
    CLEANUP(free_ptr) char *date = clock_date();
    json_t *verdict = json_pack("{ss* ss* ss sb ss*}", "checkpoint_id", id, "checkpoint_path", path,
                                "timestamp", date, "success", problem ? 0 : 1, "error", problem);
    char *text = json_dumps(verdict, JSON_INDENT(2));

    json_decref(verdict);
    return text;
}

/* Written last, only for a snapshot that is complete. */
static int write_done_file(const struct operation *operation, struct error *error)
{
    CLEANUP(free_ptr) char *text = verdict_text(operation, NULL);
    CLEANUP(free_ptr)
    char *path = text_format("%s/%s/" SNAPSHOT_DONE, operation->base, operation->order->id);
    int r = fault_point("agent-done-file", error);

    if (r < 0)
        return r;
    r = file_write_atomic(AT_FDCWD, path, text, strlen(text));
    if (r < 0)
        return error_set(error, "snapshot-write", r, "Can't write '%s'", path);
    return 0;
}

/* A new snapshot of the same id takes the place of older ones. Failing to make room is no failure
 * of the capture. */
static void remove_older(struct operation *operation)
{
    struct gc_options options = {
        .id = operation->order->id, .by_count = true, .keep = operation->settings->keep_versions};
    struct gc_result result = GC_RESULT_INIT;
    struct error error = ERROR_INIT;

    if (operation->order->version || !options.keep)
        return;
    if (store_gc(operation->base, &options, &result, &error) < 0)
        operation_note(operation, "Older versions were not removed: %s", error.message);
    for (size_t i = 0; i < result.count; i++) {
        if (result.items[i].problem)
            operation_note(operation, "'%s' was not removed: %s", result.items[i].path,
                           result.items[i].problem);
    }
    gc_result_done(&result);
    error_done(&error);
}

/* Whether that very version is there already, complete. */
static bool is_there(const struct operation *operation)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    CLEANUP(free_ptr) char *reference = NULL;

    if (!operation->order->version)
        return false;
    reference = text_format("%s@%s", operation->order->id, operation->order->version);
    return snapshot_open(operation->base, reference, &snapshot, NULL) == 0;
}

static void record(json_t *result, const struct capture_result *captured)
{
    (void)json_object_set_new(result, "snapshot",
                              json_sprintf("%s@%s", captured->id, captured->version));
    (void)json_object_set_new(result, "path", json_string(captured->path));
    (void)json_object_set_new(result, "bytes", json_integer((json_int_t)captured->bytes));
    (void)json_object_set_new(result, "seconds", json_real(captured->seconds));
    (void)json_object_set_new(result, "frozen_seconds", json_real(captured->frozen_seconds));
    (void)json_object_set(result, "phases", captured->phases);
}

static int capture(struct operation *operation, struct error *error)
{
    const struct agent_settings *settings = operation->settings;
    json_t *facts = container_facts(&operation->container);
    struct capture_request request = {
        .root = operation->base,
        .pid = operation->container.pid,
        .id = operation->order->id,
        .version = operation->order->version,
        .leave_running = true,
        .tcp = settings->tcp,
        .timeout_seconds = settings->checkpoint_timeout_sec,
        .ghost_limit = settings->ghost_limit,
        .exclusions = (const char *const *)settings->exclusions,
        .container = facts,
        .reporter = &operation->reporter,
    };
    struct capture_result result = {0};
    int r;

    interrupt_catch();
    r = capture_run(&request, &result, error);
    json_decref(facts);
    if (r < 0)
        return r;
    record(operation->result, &result);
    capture_result_done(&result);
    return 0;
}

static int make_snapshot(struct operation *operation, struct error *error)
{
    int r = operation_open_base(operation, error);

    if (r < 0)
        return r;
    if (is_there(operation)) {
        (void)json_object_set_new(operation->result, "already", json_true());
        (void)json_object_set_new(
            operation->result, "snapshot",
            json_sprintf("%s@%s", operation->order->id, operation->order->version));
        return write_done_file(operation, error);
    }
    r = capture(operation, error);
    if (r == 0)
        r = write_done_file(operation, error);
    if (r == 0)
        remove_older(operation);
    return r;
}

/* In this protocol the workload is told here, whatever happens to the agent. */
static void tell_signal_file(struct operation *operation, const struct error *failure)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct error error = ERROR_INIT;

    if (!operation->order->signal_file)
        return;
    text = verdict_text(operation, failure ? failure->message : NULL);
    if (deliver_file(&operation->container, operation->order->signal_file, text, &error) < 0)
        operation_note(operation, "The workload could not be told: %s", error.message);
    error_done(&error);
}

int operation_capture(struct operation *operation, struct error *error)
{
    struct error failure = ERROR_INIT;
    int r = operation_find(operation, error);

    if (r < 0)
        return r;
    r = operation_refuse(operation, &failure);
    if (r == 0)
        r = make_snapshot(operation, &failure);
    if (r == 0 || operation_is_final(operation, &failure))
        tell_signal_file(operation, r < 0 ? &failure : NULL);
    if (r < 0)
        error_move(error, &failure);
    return r;
}

/* The process that should have done it was killed. */
static int tell_late(struct operation *operation, struct error *error)
{
    const struct order *order = operation->order;
    const char *problem = order->problem ? order->problem : "It is not known why";
    CLEANUP(free_ptr) char *text = verdict_text(operation, order->success ? NULL : problem);

    return deliver_file(&operation->container, order->signal_file, text, error);
}

int operation_tell(struct operation *operation, struct error *error)
{
    const struct order *order = operation->order;
    int r = operation_find(operation, error);

    if (r < 0)
        return r;
    if (order->of_restore)
        return operation_tell_restore(operation, error);
    if (order->signal_file)
        return tell_late(operation, error);
    if (order->kill) {
        (void)json_object_set_new(operation->result, "ended", json_true());
        return deliver_signal(&operation->container, SIGKILL, error);
    }
    if (order->control && order->success)
        r = deliver_sentinel(&operation->container, order->control, SENTINEL_CAPTURED, "done\n",
                             error);
    if (r == 0 && order->signals && order->success)
        r = deliver_signal(&operation->container, SIGUSR1, error);
    return r;
}
