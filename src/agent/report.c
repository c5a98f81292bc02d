/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/report.h"

#include <stdlib.h>

#include "agent/pod.h"
#include "agent/words.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/object.h"
#include "kube/update.h"

enum part { PART_POD, PART_JOB, PART_CONDITION, PART_COUNT };

struct report {
    struct kube_client *client;
    struct kube_handle *handle;
    char *namespace, *pod, *uid, *job;
    json_t *patches[PART_COUNT]; /* NULL: nothing to say there */
    enum part part;
    struct report_options options;
};

static void next(struct report *report);

static const char *word_of(enum report_state state)
{
    static const char *const words[] = {"in_progress", "completed", "failed"};

    return words[state];
}

static void annotate(json_t **patch, const struct wish *wish, const char *key, const char *value)
{
    CLEANUP(free_ptr) char *named = text_format("%s.%s", key, wish->container);

    if (!wish->several)
        kube_patch_annotation(patch, key, value);
    if (wish->several || wish->protocol == PROTOCOL_CONTROL)
        kube_patch_annotation(patch, named, value);
}

static json_t *pod_patch(const struct report_options *options)
{
    json_t *patch = NULL;

    if (options->wish->kind != WISH_RESTORE)
        return NULL;
    annotate(&patch, options->wish, ANNOTATION_RESTORE_STATUS, word_of(options->state));
    if (options->container_id)
        annotate(&patch, options->wish, ANNOTATION_RESTORE_CONTAINER, options->container_id);
    return patch;
}

static json_t *job_patch(const struct report_options *options)
{
    json_t *patch = NULL;

    if (options->wish->kind != WISH_CAPTURE || options->wish->protocol == PROTOCOL_STANDALONE ||
        options->state == REPORT_RUNNING || !options->pod->job)
        return NULL;
    kube_patch_annotation(&patch, ANNOTATION_CHECKPOINT_STATUS, word_of(options->state));
    return patch;
}

static const char *reason_of(const struct report_options *options)
{
    static const char *const restored[] = {"RestoreInProgress", "RestoreSucceeded",
                                           "RestoreFailed"};
    static const char *const captured[] = {"CheckpointInProgress", "CheckpointSucceeded",
                                           "CheckpointFailed"};

    return (options->wish->kind == WISH_RESTORE ? restored : captured)[options->state];
}

/* Conditions are merged by their type. */
static json_t *condition_patch(struct kube_client *client, const struct report_options *options)
{
    CLEANUP(free_ptr) char *now = kube_time(loop_date(kube_client_loop(client)));
    const char *type =
        options->wish->kind == WISH_RESTORE ? CONDITION_RESTORED : CONDITION_CHECKPOINTED;

    return json_pack("{s{ss} s{s[{ss ss ss ss* ss}]}}", "metadata", "uid", options->pod->uid,
                     "status", "conditions", "type", type, "status",
                     options->state == REPORT_SUCCEEDED ? "True" : "False", "reason",
                     reason_of(options), "message", options->message, "lastTransitionTime", now);
}

static bool is_gone(const struct error *error)
{
    return error_is(error, "kube-not-found") || error_is(error, "kube-conflict");
}

static void on_answer(const struct kube_answer *answer, const struct error *error, void *context)
{
    struct report *report = context;

    (void)answer;
    report->handle = NULL;
    /* A Job may be gone before its pod; rights to write a status may be missing. */
    if (error && report->part == PART_POD) {
        report->options.done(is_gone(error) ? NULL : error, is_gone(error),
                             report->options.context);
        return;
    }
    if (error && !is_gone(error) && !error_is(error, "kube-forbidden") &&
        !error_is(error, "kube-invalid")) {
        report->options.done(error, false, report->options.context);
        return;
    }
    report->part++;
    next(report);
}

static void send_condition(struct report *report)
{
    CLEANUP(free_ptr) char *path = kube_path(&kube_pods, report->namespace, report->pod, "status");
    struct kube_request request = {.method = "PATCH",
                                   .path = path,
                                   .content_type = KUBE_STRATEGIC_PATCH,
                                   .body = report->patches[PART_CONDITION]};

    kube_send(report->client, &request, on_answer, report, &report->handle);
}

static void send_annotations(struct report *report)
{
    bool job = report->part == PART_JOB;
    struct kube_reference reference = {.resource = job ? &kube_jobs : &kube_pods,
                                       .namespace = report->namespace,
                                       .name = job ? report->job : report->pod};

    kube_patch(report->client, &reference, report->patches[report->part], job ? NULL : report->uid,
               NULL, on_answer, report, &report->handle);
}

static void next(struct report *report)
{
    while (report->part < PART_COUNT && !report->patches[report->part])
        report->part++;
    if (report->part == PART_COUNT)
        report->options.done(NULL, false, report->options.context);
    else if (report->part == PART_CONDITION)
        send_condition(report);
    else
        send_annotations(report);
}

struct report *report_start(struct kube_client *client, const struct report_options *options)
{
    struct report *report = allocate(sizeof *report);

    report->client = client;
    report->options = *options;
    report->namespace = text_copy(options->pod->namespace);
    report->pod = text_copy(options->pod->name);
    report->uid = text_copy(options->pod->uid);
    report->job = options->pod->job ? text_copy(options->pod->job) : NULL;
    report->patches[PART_POD] = pod_patch(options);
    report->patches[PART_JOB] = job_patch(options);
    report->patches[PART_CONDITION] = condition_patch(client, options);
    report->options.pod = NULL; /* only borrowed for this call */
    report->options.wish = NULL;
    report->options.message = report->options.container_id = NULL;
    next(report);
    return report;
}

void report_free(struct report *report)
{
    if (!report)
        return;
    kube_cancel(report->handle);
    for (size_t i = 0; i < PART_COUNT; i++)
        json_decref(report->patches[i]);
    free(report->namespace);
    free(report->pod);
    free(report->uid);
    free(report->job);
    free(report);
}
