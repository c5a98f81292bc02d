/* SPDX-License-Identifier: Apache-2.0 */
/* A restore into a running container: waits for it, restores, tells the workload. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/deliver.h"
#include "agent/operation.h"
#include "agent/words.h"
#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "container/view.h"
#include "proc/ending.h"
#include "proc/process.h"
#include "restore/into-container.h"

enum { LOOK_MSEC = 20, DECISION_SECONDS = 30, PROVE_MSEC = 1000, REAP_MSEC = 300 };

enum waiting {
    WAITS_NOT,
    WAITS_PERHAPS, /* an entry point that has yet to decide, or a program that has yet to start */
    WAITS_FOR_US,
};

/* Of an entry point that has just started, and of the runtimes before they execute it. The kernel
 * cuts names off after 15 bytes. */
static bool is_name_of_a_start(const char *name)
{
    return text_equal(name, "restore-entrypo") || text_equal(name, "smart-entrypoin") ||
           text_starts_with(name, "runc") || text_starts_with(name, "crun");
}

/* What the first process says by its name. */
static enum waiting how_it_waits(const struct container *container)
{
    struct process process = PROCESS_INIT;
    enum waiting waiting = WAITS_NOT;

    if (process_read(container->pid, &process, NULL) < 0)
        return WAITS_NOT;
    if (text_equal(process.comm, NAME_WAITS))
        waiting = WAITS_FOR_US;
    else if (is_name_of_a_start(process.comm))
        waiting = WAITS_PERHAPS;
    process_done(&process);
    return waiting;
}

/* The entry point has started a moment ago, and looks around before it decides. On a busy machine
 * that takes seconds. */
static enum waiting wait_for_decision(const struct container *container)
{
    uint64_t start = clock_now_usec();
    enum waiting waiting;

    while ((waiting = how_it_waits(container)) == WAITS_PERHAPS &&
           clock_seconds_since(start) < DECISION_SECONDS)
        clock_sleep_msec(LOOK_MSEC);
    return waiting;
}

static bool is_not_there_yet(const struct error *error)
{
    return error_is(error, "container-missing") || error_is(error, "container-not-running");
}

/* The kubelet tells late that a container runs, so the runtime is asked until it does. */
static int wait_for_container(struct operation *operation, struct error *error)
{
    uint64_t start = clock_now_usec();
    struct error problem = ERROR_INIT;
    int r;

    for (;;) {
        r = operation_find(operation, &problem);
        if (r == 0 || !is_not_there_yet(&problem) ||
            clock_seconds_since(start) >= operation->settings->container_wait_sec)
            break;
        error_done(&problem);
        r = interrupt_check(error);
        if (r < 0)
            return r;
        clock_sleep_msec(LOOK_MSEC);
    }
    if (r < 0) {
        if (is_not_there_yet(&problem))
            (void)json_object_set_new(operation->result, "not_running", json_true());
        error_move(error, &problem);
    }
    return r;
}

/* A word of an earlier restore must not be taken for ours. */
static int clear_words(const struct operation *operation, struct error *error)
{
    static const char *const names[] = {SENTINEL_RESTORED, SENTINEL_FAILED};
    const struct order *order = operation->order;
    int r = 0;

    for (size_t i = 0; order->control && r == 0 && i < sizeof names / sizeof names[0]; i++) {
        CLEANUP(free_ptr) char *path = text_format("%s/%s", order->control, names[i]);

        r = deliver_removal(&operation->container, path, error);
    }
    return r;
}

static int restore(struct operation *operation, struct error *error)
{
    const struct order *order = operation->order;
    CLEANUP(free_ptr)
    char *reference =
        order->version ? text_format("%s@%s", order->id, order->version) : text_copy(order->id);
    struct container_restore_request request = {
        .root = operation->base,
        .reference = reference,
        .target = operation->container.pid,
        .image_digest = operation->container.image_digest,
        .any_image = operation->settings->any_image,
        .marker = order->marker,
        .timeout_seconds = operation->settings->restore_timeout_sec,
        /* A volume of the pod may be read-only for a restore. */
        .logs = order->claim_path ? operation->settings->state_directory : NULL,
        .reporter = &operation->reporter,
    };
    struct container_restore_result result = {0};
    int r = container_restore_run(&request, &result, error);

    if (r < 0)
        return r;
    (void)json_object_set_new(operation->result, "snapshot", json_string(result.reference));
    (void)json_object_set_new(operation->result, "seconds", json_real(result.seconds));
    (void)json_object_set_new(operation->result, "pid", json_integer(result.pid));
    (void)json_object_set_new(operation->result, "container_pid", json_integer(result.inner_pid));
    (void)json_object_set(operation->result, "phases", result.phases);
    container_restore_result_done(&result);
    return 0;
}

static int prepare_and_restore(struct operation *operation, struct error *error)
{
    int r = clear_words(operation, error);

    if (r == 0)
        r = operation_open_base(operation, error);
    return r < 0 ? r : restore(operation, error);
}

/* The processes run; a workload that could not be told is still a restored one. */
static void tell_success(struct operation *operation)
{
    const struct order *order = operation->order;
    pid_t inner = (pid_t)json_integer_value(json_object_get(operation->result, "container_pid"));
    CLEANUP(free_ptr) char *text = text_format("pid=%d\n", (int)inner);
    struct error error = ERROR_INIT;
    int r = 0;

    if (order->control)
        r = deliver_sentinel(&operation->container, order->control, SENTINEL_RESTORED, text,
                             &error);
    if (r == 0 && order->signals) {
        struct container restored = {
            .id = operation->container.id,
            .name = operation->container.name,
            .pid = (pid_t)json_integer_value(json_object_get(operation->result, "pid")),
        };
        struct process process = PROCESS_INIT;

        r = process_read(restored.pid, &process, &error);
        restored.start_time = process.start_time;
        process_done(&process);
        if (r == 0)
            r = deliver_signal(&restored, SIGCONT, &error);
    }
    if (r < 0)
        operation_note(operation, "The restored workload could not be told: %s", error.message);
    error_done(&error);
}

/* What is restored beside a command that only sleeps, and ends at once, would be missed by nobody.
 * An entry point looks at it, and ends in the same way. */
static int prove(struct operation *operation, struct error *error)
{
    pid_t pid = (pid_t)json_integer_value(json_object_get(operation->result, "pid"));
    CLEANUP(free_ptr) char *end = NULL;
    int status = 0, r = process_await_end(pid, PROVE_MSEC, &status);

    if (r == 0 || (r == 1 && status == 0))
        return 0;
    clock_sleep_msec(REAP_MSEC);
    if (process_await_end(pid, 0, &status) == 1) {
        (void)clear_words(operation, NULL);
        end = process_end_text(status);
        return error_set(error, "restored-ended", 0,
                         "The program was restored, and ended at once, %s", end);
    }
    if (container_is_first(operation->container.pid))
        operation_note(operation, "The restored program ended within a second. The container's "
                                  "first process has looked at how, and goes on");
    return 0;
}

/* Who waits for a restore by itself starts cold on this word. A command that only sleeps knows no
 * other word than its end. */
static int deliver_failure(struct operation *operation, const char *text, struct error *error)
{
    const struct order *order = operation->order;
    bool waits = wait_for_decision(&operation->container) == WAITS_FOR_US;
    int r = 0;

    if (order->control)
        r = deliver_sentinel(&operation->container, order->control, SENTINEL_FAILED, text, error);
    else if (waits)
        r = deliver_file(&operation->container, CONTROL_DIRECTORY "/" SENTINEL_FAILED, text, error);
    if (r == 0 && order->kill && !waits) {
        r = deliver_signal(&operation->container, SIGKILL, error);
        if (r == 0)
            (void)json_object_set_new(operation->result, "ended", json_true());
    }
    return r;
}

int operation_tell_restore(struct operation *operation, struct error *error)
{
    const char *problem = operation->order->problem;
    CLEANUP(free_ptr) char *text = text_format("%s\n", problem ? problem : "It is not known why");

    return deliver_failure(operation, text, error);
}

static void tell_failure(struct operation *operation, const struct error *failure)
{
    CLEANUP(free_ptr) char *text = text_format("%s [%s]\n", failure->message, failure->code);
    struct error error = ERROR_INIT;

    if (deliver_failure(operation, text, &error) < 0)
        operation_note(operation, "The workload could not be told: %s", error.message);
    error_done(&error);
}

/* It is looked at again later. */
static int not_started(struct operation *operation, struct error *error)
{
    (void)json_object_set_new(operation->result, "not_running", json_true());
    return error_set(error, "container-not-running", EAGAIN,
                     "The first process of container '%s' has not really started",
                     operation->order->container);
}

int operation_restore(struct operation *operation, struct error *error)
{
    struct error failure = ERROR_INIT;
    int r;

    interrupt_catch();
    r = wait_for_container(operation, error);
    if (r < 0)
        return r;
    if (operation->order->leave_alone) {
        enum waiting waiting = wait_for_decision(&operation->container);

        if (waiting == WAITS_PERHAPS)
            return not_started(operation, error);
        if (waiting == WAITS_NOT) {
            (void)json_object_set_new(operation->result, "already", json_true());
            return 0;
        }
    }
    r = operation_refuse(operation, &failure);
    if (r == 0)
        r = prepare_and_restore(operation, &failure);
    if (r == 0) {
        tell_success(operation);
        r = prove(operation, &failure);
    }
    if (r < 0 && operation_is_final(operation, &failure))
        tell_failure(operation, &failure);
    if (r < 0)
        error_move(error, &failure);
    return r;
}
