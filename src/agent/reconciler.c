/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reconciler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/backlog.h"
#include "agent/channel.h"
#include "agent/hold.h"
#include "agent/report.h"
#include "agent/say.h"
#include "agent/tidings.h"
#include "agent/work.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/events.h"
#include "kube/object.h"
#include "kube/queue.h"
#include "kube/reflector.h"

enum {
    REPORTS_AT_ONCE = 8,
    WAIT_LEAST_USEC = 500000, /* for a container that does not run yet; doubles */
    WAIT_MOST_USEC = 10000000,
    RETRY_LEAST_USEC = 1000000, /* after a failed attempt; doubles */
    SILENCE_MOST_USEC = 900000000,
    WORDS_MOST = 8,  /* attempts at telling a workload */
    LOSSES_MOST = 3, /* operations that were killed, and count as no attempts */
    PROBLEM_MOST = 2000,
};

/* An order that no pod asked for. */
struct asked {
    struct asked *next;
    char *key;
    reconciler_result_function *done;
    void *context;
};

struct reconciler {
    struct loop *loop;
    struct kube_client *client;
    const struct agent_settings *settings;
    struct metrics *metrics;
    struct channel *channel;
    struct kube_recorder *recorder;
    struct holds *holds;
    struct kube_reflector *reflector;
    struct kube_queue *reports;
    struct report_call *calls;
    struct protocol_rules rules;
    struct decide_limits limits;
    struct node node;
    struct loop_source *again;
    struct asked *asked;
    uint64_t asked_serial;
    struct backlog backlog; /* what is heard before all of the journal is known */
    bool ready;             /* it is */
    void (*broken)(const struct error *error, void *context);
    void *context;
};

/* A report on its way. */
struct report_call {
    struct report_call *next;
    struct reconciler *reconciler;
    struct report *report;
    char *key;
    bool final;
};

static void evaluate_entry(struct reconciler *reconciler, struct node_pod *entry);
static void start_queued(struct reconciler *reconciler);
static void tell_when_due(struct reconciler *reconciler, struct work *work);

static char *report_key(const struct work *work)
{
    return text_format("%s/%s/%s", work->owner->uid, wish_kind_name(work->kind), work->container);
}

static char *tell_key(const struct work *work)
{
    return text_format("%s.%s.%stell", work->owner->uid, work->container,
                       work->kind == WISH_RESTORE ? "restore-" : "");
}

static void report_soon(struct reconciler *reconciler, const struct work *work)
{
    CLEANUP(free_ptr) char *key = report_key(work);

    if (reconciler->reports)
        kube_queue_add(reconciler->reports, key);
}

/* From the begin of a capture until its workload was told, over all attempts. */
static bool is_under_way(const struct work *work)
{
    return work->state == WORK_RUNNING || work->state == WORK_SETTLED ||
           (work->state == WORK_QUEUED && work->attempts) ||
           (work->state == WORK_IDLE && work->attempts);
}

/* ChReK alone has no Job that anybody else waits for. */
static void update_hold(struct reconciler *reconciler, struct work *work)
{
    const struct pod *pod = work->owner->pod;
    bool wanted = pod && pod->job && work->wanted && work->kind == WISH_CAPTURE &&
                  work->wish.protocol != PROTOCOL_STANDALONE && is_under_way(work);

    if (wanted && !work->hold && reconciler->holds)
        work->hold = hold_take(reconciler->holds, pod->namespace, pod->job, pod->job_uid);
    else if (!wanted)
        hold_drop(STEAL_PTR(work->hold));
}

/* Operations. */

static char *copy_of(const char *text)
{
    return text ? text_copy(text) : NULL;
}

static struct order order_of(struct reconciler *reconciler, const struct work *work)
{
    const struct pod *pod = work->owner->pod;
    const struct wish *wish = &work->wish;
    bool capture = work->kind == WISH_CAPTURE;

    return (struct order){
        .kind = capture ? ORDER_CAPTURE : ORDER_RESTORE,
        .key = text_copy(work->key),
        .protocol = text_copy(protocol_name(wish->protocol)),
        .namespace = text_copy(pod->namespace),
        .pod = text_copy(pod->name),
        .uid = text_copy(pod->uid),
        .container = text_copy(work->container),
        .id = copy_of(wish->id),
        .version = copy_of(wish->version),
        .claim_path = copy_of(wish->claim_path),
        .signal_file = copy_of(wish->signal_file),
        .control = copy_of(wish->control),
        .marker = copy_of(wish->marker),
        .signals = wish->signals,
        .leave_alone = !capture && wish->protocol == PROTOCOL_STANDALONE,
        .last = work->attempts + 1 >= (capture ? reconciler->limits.capture_attempts
                                               : reconciler->limits.restore_attempts),
        .kill =
            !capture && reconciler->settings->kill_failed && wish->protocol != PROTOCOL_STANDALONE,
        .problem = wish->invalid ? copy_of(work->owner->complaint_text) : NULL,
        .problem_code = wish->invalid ? copy_of(work->owner->complaint) : NULL,
    };
}

static void send_order(struct reconciler *reconciler, const struct order *order)
{
    channel_send(reconciler->channel,
                 json_pack("{ss so}", "do", "begin", "order", order_to_json(order)));
}

/* Whether a container of ChReK alone waits for a restore at all is seen later. */
static bool is_sure(const struct work *work)
{
    return !work->wish.invalid &&
           (work->kind == WISH_CAPTURE || work->wish.protocol != PROTOCOL_STANDALONE);
}

static void begin(struct reconciler *reconciler, struct work *work)
{
    struct order order;

    (void)work_new_key(work);
    work->state = WORK_RUNNING;
    work->cancelled = work->told = work->telling = work->reported = work->announced = false;
    work->words = 0;
    work->began_usec = loop_now(reconciler->loop);
    json_decref(work->result);
    work->result = NULL;
    order = order_of(reconciler, work);
    send_order(reconciler, &order);
    say_fields(SAY_INFO,
               json_pack("{ss ss ss ss* ss}", "namespace", order.namespace, "pod", order.pod,
                         "container", order.container, "snapshot", order.id, "protocol",
                         order.protocol),
               "%s begins", wish_kind_name(work->kind));
    order_done(&order);
    if (is_sure(work)) {
        tidings_tell_begin(reconciler->recorder, work);
        report_soon(reconciler, work);
    }
    update_hold(reconciler, work);
}

static void enqueue(struct reconciler *reconciler, struct work *work)
{
    work->state = WORK_QUEUED;
    work->queued = ++reconciler->node.queue_tail;
    start_queued(reconciler);
}

static void start_queued(struct reconciler *reconciler)
{
    const size_t most[] = {reconciler->settings->captures_at_once,
                           reconciler->settings->restores_at_once};

    for (enum wish_kind kind = WISH_CAPTURE; kind <= WISH_RESTORE; kind++) {
        struct work *work;

        while (node_count(&reconciler->node, kind, WORK_RUNNING) < most[kind] &&
               (work = node_first_queued(&reconciler->node, kind)))
            begin(reconciler, work);
    }
}

static void cancel(struct reconciler *reconciler, struct work *work)
{
    if (work->state == WORK_QUEUED) {
        work->state = WORK_IDLE;
        return;
    }
    work->cancelled = true;
    channel_send(reconciler->channel, json_pack("{ss ss}", "do", "cancel", "key", work->key));
}

static void announce_end(struct reconciler *reconciler, struct work *work)
{
    bool ok = work_succeeded(work);
    const struct pod *pod = work->owner->pod;

    if (!reconciler->ready)
        return; /* an earlier agent may have said it: seen when it is reported */
    metrics_count_result(reconciler->metrics, work->kind, work->result);
    say_fields(ok ? SAY_INFO : SAY_ERROR,
               json_pack("{ss* ss* ss sO}", "namespace", pod ? pod->namespace : NULL, "pod",
                         pod ? pod->name : NULL, "container", work->container, "result",
                         work->result),
               "%s %s", wish_kind_name(work->kind), ok ? "succeeded" : "failed");
    tidings_tell_end(reconciler->recorder, work);
}

/* A result that was made without an operation. */
static json_t *refusal(const char *code, const char *message)
{
    return json_pack("{sb ss ss}", "ok", 0, "code", code, "message", message);
}

static void forget_key(struct reconciler *reconciler, const char *key)
{
    channel_send(reconciler->channel, json_pack("{ss ss}", "do", "forget", "key", key));
}

/* All that the journal has of it. */
static void forget_operations(struct reconciler *reconciler, const struct work *work)
{
    CLEANUP(free_ptr) char *tell = tell_key(work);

    for (unsigned serial = 1; serial <= work->serial; serial++) {
        CLEANUP(free_ptr) char *key = work_key(work, serial);

        forget_key(reconciler, key);
    }
    forget_key(reconciler, tell);
}

/* As if nothing had been tried. */
static void begin_anew(struct reconciler *reconciler, struct work *work)
{
    forget_operations(reconciler, work);
    json_decref(STEAL_PTR(work->result));
    free(STEAL_PTR(work->container_id));
    work->state = WORK_IDLE;
    work->attempts = work->waits = work->losses = 0;
    work->not_before_usec = 0;
}

static void look_again(struct reconciler *reconciler, uint64_t at_usec)
{
    if (at_usec && at_usec < loop_timer_at(reconciler->again))
        loop_timer_set(reconciler->again, at_usec);
}

static void evaluate(struct reconciler *reconciler, struct work *work)
{
    struct work_view view = work_view(work);
    struct decision decision = decide(work->owner->pod, &work->wish, &view, &reconciler->limits,
                                      loop_now(reconciler->loop));

    switch (decision.step) {
    case STEP_NOTHING:
        look_again(reconciler, decision.again_usec);
        break;
    case STEP_BEGIN:
        enqueue(reconciler, work);
        break;
    case STEP_CANCEL:
        cancel(reconciler, work);
        if (work->state == WORK_IDLE)
            evaluate(reconciler, work); /* it had waited for its turn */
        break;
    case STEP_REFUSE:
        json_decref(work->result);
        work->result = refusal(decision.code, "A container of the pod has failed");
        work->state = WORK_SETTLED;
        work->told = true;
        announce_end(reconciler, work);
        report_soon(reconciler, work);
        break;
    case STEP_GIVE_UP:
        work->state = WORK_SETTLED;
        work->told = true; /* there is nobody any more */
        report_soon(reconciler, work);
        break;
    case STEP_FORGET:
        begin_anew(reconciler, work);
        evaluate(reconciler, work);
        break;
    }
}

static void evaluate_entry(struct reconciler *reconciler, struct node_pod *entry)
{
    for (struct work *work = entry->works; work; work = work->next) {
        if (work->wanted && work->state == WORK_SETTLED && !work->reported)
            report_soon(reconciler, work); /* its result was there before its pod was known */
        else if (work->wanted && work->state == WORK_SETTLED)
            tell_when_due(reconciler, work);
        else if (work->wanted)
            evaluate(reconciler, work);
        else if (work->state == WORK_RUNNING && !work->cancelled && entry->pod)
            cancel(reconciler, work);
        update_hold(reconciler, work);
    }
}

static void on_again(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct reconciler *reconciler = context;

    (void)source;
    (void)now_usec;
    for (struct node_pod *entry = reconciler->node.pods; entry; entry = entry->next) {
        if (entry->pod)
            evaluate_entry(reconciler, entry);
    }
}

/* Pods. */

/* Says once what is wrong with what a pod asks for. */
static void complain(struct reconciler *reconciler, struct node_pod *entry,
                     const struct error *error)
{
    if (text_equal(entry->complaint, error->code))
        return;
    free(entry->complaint);
    free(entry->complaint_text);
    entry->complaint = text_copy(error->code);
    entry->complaint_text = text_copy(error->message);
    say_fields(SAY_WARNING,
               json_pack("{ss ss ss}", "namespace", entry->pod->namespace, "pod", entry->pod->name,
                         "code", error->code),
               "%s", error->message);
    tidings_tell_complaint(reconciler->recorder, entry, error);
}

static void take_pod(struct reconciler *reconciler, struct pod *pod)
{
    struct node_pod *entry = node_get(&reconciler->node, pod->uid);
    struct wishes wishes = {.count = 0};
    struct error error = ERROR_INIT;

    node_pod_set(entry, pod);
    if (protocol_read(pod, &reconciler->rules, &wishes, &error) < 0)
        complain(reconciler, entry, &error);
    error_done(&error);
    node_pod_wish(entry, &wishes);
    evaluate_entry(reconciler, entry);
}

static bool is_busy(const struct node_pod *entry)
{
    for (const struct work *work = entry->works; work; work = work->next) {
        if (work->state == WORK_RUNNING)
            return true;
    }
    return false;
}

/* Nothing of a pod that is gone is needed any more, but for what still runs. */
static void drop_entry(struct reconciler *reconciler, struct node_pod *entry)
{
    for (struct work *work = entry->works; work; work = work->next) {
        if (work->state == WORK_RUNNING && !work->cancelled)
            cancel(reconciler, work);
    }
    for (struct work *work = entry->works; work; work = work->next)
        hold_drop(STEAL_PTR(work->hold));
    if (is_busy(entry))
        return;
    for (struct work *work = entry->works; work; work = work->next)
        forget_operations(reconciler, work);
    node_remove(&reconciler->node, entry);
}

static void on_notice(const struct kube_notice *notice, void *context)
{
    struct reconciler *reconciler = context;
    struct node_pod *entry;
    struct pod *pod;

    if (notice->change == KUBE_DELETED) {
        entry = node_find(&reconciler->node, notice->uid);
        if (!entry)
            return;
        node_pod_set(entry, NULL);
        node_pod_wish(entry, &(struct wishes){.count = 0});
        drop_entry(reconciler, entry);
        return;
    }
    pod = pod_read(notice->object);
    if (pod)
        take_pod(reconciler, pod);
}

/* What the journal knew and the API server does not. */
static void on_synced(void *context)
{
    struct reconciler *reconciler = context;

    for (struct node_pod *entry = reconciler->node.pods, *next; entry; entry = next) {
        next = entry->next;
        if (!entry->pod)
            drop_entry(reconciler, entry);
    }
    say_fields(SAY_INFO,
               json_pack("{sI}", "pods", (json_int_t)kube_reflector_count(reconciler->reflector)),
               "the pods of this node are known");
}

static void on_trouble(const struct error *error, unsigned retry_msec, void *context)
{
    struct reconciler *reconciler = context;

    metrics_count_trouble(reconciler->metrics);
    say_fields(SAY_WARNING, json_pack("{ss si}", "code", error->code, "retry_msec", retry_msec),
               "%s", error->message);
}

static int follow_pods(struct reconciler *reconciler)
{
    CLEANUP(free_ptr)
    char *path = kube_path(&kube_pods, reconciler->settings->restricted_namespace, NULL, NULL);
    CLEANUP(free_ptr) char *selector = text_format("spec.nodeName=%s", reconciler->settings->node);
    struct kube_reflector_options options = {.path = path,
                                             .field_selector = selector,
                                             .notice = on_notice,
                                             .synced = on_synced,
                                             .trouble = on_trouble,
                                             .context = reconciler};

    reconciler->reflector = kube_reflector_new(reconciler->client, &options);
    return 0;
}

/* Reports. */

static struct work *work_of_key(struct reconciler *reconciler, const char *key)
{
    for (struct node_pod *entry = reconciler->node.pods; entry; entry = entry->next) {
        for (struct work *work = entry->works; work; work = work->next) {
            CLEANUP(free_ptr) char *own = report_key(work);

            if (text_equal(own, key))
                return work;
        }
    }
    return NULL;
}

static void settle(struct reconciler *reconciler, struct work *work)
{
    work->state = work_succeeded(work) ? WORK_DONE : WORK_FAILED;
    evaluate_entry(reconciler, work->owner);
}

/* What has gone wrong, for the workload. */
static char *problem_of(const struct work *work)
{
    const char *message = json_string_value(json_object_get(work->result, "message"));
    const char *code = json_string_value(json_object_get(work->result, "code"));

    return text_format("%.*s [%s]", PROBLEM_MOST, message ? message : "", code ? code : "");
}

/* The workload hears after the world has: it may end on this word, and whoever watches its end
 * wants to know by then how it went. */
static void tell_workload(struct reconciler *reconciler, struct work *work)
{
    struct order order = order_of(reconciler, work);
    const struct wish *wish = &work->wish;

    work->telling = true;
    free(order.key);
    order.key = tell_key(work);
    order.kind = ORDER_TELL;
    order.success = work_succeeded(work);
    order.of_restore = work->kind == WISH_RESTORE;
    free(order.problem);
    order.problem = order.success ? NULL : problem_of(work);
    if (work->kind == WISH_CAPTURE)
        order.kill = !order.success && reconciler->settings->kill_failed &&
                     work->owner->pod->job != NULL &&
                     (wish->protocol == PROTOCOL_CHREK || wish->protocol == PROTOCOL_SIGNALS ||
                      wish->protocol == PROTOCOL_CONTROL);
    send_order(reconciler, &order);
    order_done(&order);
}

static void finish_report(struct report_call *call, enum kube_outcome outcome)
{
    struct reconciler *reconciler = call->reconciler;
    struct report_call **link = &reconciler->calls;

    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    kube_queue_done(reconciler->reports, call->key, outcome);
    report_free(call->report);
    free(call->key);
    free(call);
}

/* In the first protocol the operation itself has told the workload, and so has a restore: it says
 * that its failure is final. One that was killed has done neither. */
static bool needs_word(const struct work *work)
{
    if (!work->wanted || work->told)
        return false;
    if (work->kind == WISH_CAPTURE && work->wish.protocol != PROTOCOL_STANDALONE)
        return true;
    return !work_succeeded(work) && !json_is_true(json_object_get(work->result, "final"));
}

static void tell_when_due(struct reconciler *reconciler, struct work *work)
{
    if (!needs_word(work) || work->telling)
        return;
    if (work->not_before_usec > loop_now(reconciler->loop))
        look_again(reconciler, work->not_before_usec);
    else
        tell_workload(reconciler, work);
}

static void on_reported(const struct error *error, bool gone, void *context)
{
    struct report_call *call = context;
    struct work *work = work_of_key(call->reconciler, call->key);

    if (error) {
        say_fields(SAY_WARNING, json_pack("{ss}", "code", error->code),
                   "an outcome could not be told yet: %s", error->message);
        finish_report(call, KUBE_WORK_RETRY);
        return;
    }
    if (call->final && work && work->state == WORK_SETTLED) {
        work->reported = true;
        if (!gone && needs_word(work))
            tell_when_due(call->reconciler, work);
        else
            settle(call->reconciler, work);
    }
    finish_report(call, KUBE_WORK_DONE);
}

/* An agent of before has said how it ended. */
static bool was_heard(const struct work *work)
{
    const struct pod *pod = work->owner->pod;

    return work->kind == WISH_CAPTURE ? pod->capture_told : pod->restore_told;
}

static void report(struct kube_queue *queue, const char *key, void *context)
{
    struct reconciler *reconciler = context;
    struct work *work = work_of_key(reconciler, key);
    CLEANUP(free_ptr) char *message = NULL;
    struct report_options options;
    struct report_call *call;

    if (!work || !work->owner->pod || !work->wanted ||
        (work->state != WORK_RUNNING && work->state != WORK_SETTLED)) {
        kube_queue_done(queue, key, KUBE_WORK_DONE);
        return;
    }
    if (work->state == WORK_SETTLED && !work->announced && !was_heard(work))
        tidings_tell_end(reconciler->recorder, work);
    call = allocate(sizeof *call);
    *call = (struct report_call){.next = reconciler->calls,
                                 .reconciler = reconciler,
                                 .key = text_copy(key),
                                 .final = work->state == WORK_SETTLED};
    reconciler->calls = call;
    message = tidings_of_result(work->kind, work->result);
    options = (struct report_options){.pod = work->owner->pod,
                                      .wish = &work->wish,
                                      .state = !call->final           ? REPORT_RUNNING
                                               : work_succeeded(work) ? REPORT_SUCCEEDED
                                                                      : REPORT_FAILED,
                                      .container_id = work->container_id,
                                      .message = message,
                                      .done = on_reported,
                                      .context = call};
    call->report = report_start(reconciler->client, &options);
}

/* Results. */

static uint64_t pause_of(unsigned count, uint64_t least, uint64_t most)
{
    uint64_t pause = count < 16 ? least << count : most;

    return pause < most ? pause : most;
}

static void keep_container(struct work *work)
{
    const char *id = json_string_value(json_object_get(work->result, "container_id"));

    if (id) {
        free(work->container_id);
        work->container_id = text_copy(id);
    }
}

/* Another attempt, or the end of it. */
static void count_failure(struct reconciler *reconciler, struct work *work)
{
    unsigned most = work->kind == WISH_CAPTURE ? reconciler->limits.capture_attempts
                                               : reconciler->limits.restore_attempts;

    /* Who was killed has told nobody. */
    if (!text_equal(json_string_value(json_object_get(work->result, "code")), "operation-lost") ||
        ++work->losses > LOSSES_MOST)
        work->attempts++;
    if (work->attempts >= most || json_is_true(json_object_get(work->result, "final"))) {
        work->not_before_usec = 0;
        work->state = WORK_SETTLED;
        report_soon(reconciler, work);
        return;
    }
    work->state = WORK_IDLE;
    work->not_before_usec =
        loop_now(reconciler->loop) + pause_of(work->attempts, RETRY_LEAST_USEC, WAIT_MOST_USEC);
}

/* Not so when the container did not run yet, or nobody wanted it to go on. */
static bool was_attempt(const struct work *work)
{
    const char *code = json_string_value(json_object_get(work->result, "code"));

    return !json_is_true(json_object_get(work->result, "not_running")) &&
           !text_equal(code, "interrupted");
}

static void take_result(struct reconciler *reconciler, struct work *work)
{
    keep_container(work);
    if (work->cancelled && !was_attempt(work))
        say_fields(SAY_INFO, json_pack("{ss}", "work", work->key),
                   "%s given up: its pod has ended or was deleted", wish_kind_name(work->kind));
    if (!was_attempt(work)) {
        work->state = WORK_IDLE;
        work->not_before_usec =
            loop_now(reconciler->loop) + pause_of(work->waits++, WAIT_LEAST_USEC, WAIT_MOST_USEC);
        forget_key(reconciler, work->key);
        return;
    }
    if (work->kind == WISH_RESTORE && json_is_true(json_object_get(work->result, "already"))) {
        work->state = WORK_DONE;
        return;
    }
    announce_end(reconciler, work);
    if (!work_succeeded(work)) {
        count_failure(reconciler, work);
        return;
    }
    work->attempts = work->losses = 0;
    work->not_before_usec = 0;
    work->state = WORK_SETTLED;
    report_soon(reconciler, work);
}

static void on_work_end(struct reconciler *reconciler, struct work *work, json_t *message)
{
    struct node_pod *entry = work->owner;

    json_decref(work->result);
    work->result = json_incref(json_object_get(message, "result"));
    take_result(reconciler, work);
    if (!entry->pod && reconciler->reflector && kube_reflector_synced(reconciler->reflector))
        drop_entry(reconciler, entry);
    else if (entry->pod)
        evaluate_entry(reconciler, entry);
    start_queued(reconciler);
}

/* A word that did not get through is said again: the workload waits for it. */
static bool say_again(struct reconciler *reconciler, struct work *work, const char *key)
{
    const struct pod *pod = work->owner->pod;

    forget_key(reconciler, key);
    if (!reconciler->ready)
        return true; /* what was reported is reported again, and told then */
    if (!pod || pod->deleted || pod->phase == POD_ENDED || ++work->words >= WORDS_MOST)
        return false;
    work->not_before_usec =
        loop_now(reconciler->loop) + pause_of(work->words, RETRY_LEAST_USEC, WAIT_MOST_USEC);
    return true;
}

static void on_told(struct reconciler *reconciler, struct work *work, const json_t *message)
{
    const json_t *result = json_object_get(message, "result");
    bool ok = json_is_true(json_object_get(result, "ok"));

    work->telling = false;
    if (!ok)
        say_fields(SAY_WARNING,
                   json_pack("{ss ss*}", "container", work->container, "code",
                             json_string_value(json_object_get(result, "code"))),
                   "the workload could not be told how its checkpoint went: %s",
                   json_string_value(json_object_get(result, "message")));
    if (!ok && say_again(reconciler, work, json_string_value(json_object_get(message, "key")))) {
        evaluate_entry(reconciler, work->owner);
        return;
    }
    work->told = true;
    if (work->state == WORK_SETTLED)
        settle(reconciler, work);
}

static bool answer_asked(struct reconciler *reconciler, const char *key, const json_t *result)
{
    for (struct asked **link = &reconciler->asked; *link; link = &(*link)->next) {
        struct asked *asked = *link;

        if (!text_equal(asked->key, key))
            continue;
        *link = asked->next;
        asked->done(result, asked->context);
        free(asked->key);
        free(asked);
        return true;
    }
    return false;
}

static void on_ended(struct reconciler *reconciler, const struct order *order, json_t *message)
{
    struct work *work;

    if (answer_asked(reconciler, order->key, json_object_get(message, "result")) ||
        !(work = node_adopt(&reconciler->node, order))) {
        forget_key(reconciler, order->key);
        return;
    }
    if (order->kind == ORDER_TELL) {
        on_told(reconciler, work, message);
        return;
    }
    free(work->key);
    work->key = text_copy(order->key);
    on_work_end(reconciler, work, message);
}

static void on_running(struct reconciler *reconciler, const struct order *order)
{
    struct work *work = node_adopt(&reconciler->node, order);

    if (!work || order->kind == ORDER_TELL)
        return;
    if (!text_equal(work->key, order->key)) {
        free(work->key);
        work->key = text_copy(order->key);
    }
    work->state = WORK_RUNNING;
}

/* An order that was not understood is a fault of ours; still its work must not wait for ever. */
static void on_unreadable(struct reconciler *reconciler, json_t *message)
{
    const char *key = json_string_value(json_object_get(message, "key"));
    struct work *work;

    if (!key || answer_asked(reconciler, key, json_object_get(message, "result")))
        return;
    work = node_find_work(&reconciler->node, key);
    if (work && work->state == WORK_RUNNING)
        on_work_end(reconciler, work, message);
}

static void take_message(struct reconciler *reconciler, json_t *message)
{
    const char *state = json_string_value(json_object_get(message, "state"));
    struct order order = {0};
    struct error error = ERROR_INIT;

    if (text_equal(state, "unreadable"))
        on_unreadable(reconciler, message);
    else if (order_from_json(json_object_get(message, "order"), &order, &error) < 0)
        say("%s", error.message);
    else if (text_equal(state, "ended"))
        on_ended(reconciler, &order, message);
    else
        on_running(reconciler, &order);
    order_done(&order);
    error_done(&error);
}

/* All of the journal is known. */
static void on_ready(struct reconciler *reconciler)
{
    backlog_sort(&reconciler->backlog);
    for (size_t i = 0; i < reconciler->backlog.count; i++)
        take_message(reconciler, reconciler->backlog.messages[i]);
    backlog_done(&reconciler->backlog);
    reconciler->ready = true;
    if (reconciler->client)
        (void)follow_pods(reconciler);
}

static void on_message(json_t *message, void *context)
{
    struct reconciler *reconciler = context;

    if (reconciler->ready)
        take_message(reconciler, message);
    else if (text_equal(json_string_value(json_object_get(message, "state")), "ready"))
        on_ready(reconciler);
    else
        backlog_add(&reconciler->backlog, message);
}

static void on_channel_end(const struct error *error, void *context)
{
    struct reconciler *reconciler = context;

    reconciler->broken(error, reconciler->context);
}

void reconciler_ask(struct reconciler *reconciler, const struct order *order,
                    reconciler_result_function *done, void *context)
{
    struct asked *asked = allocate(sizeof *asked);
    struct order keyed = *order;

    *asked =
        (struct asked){.next = reconciler->asked,
                       .key = text_format("asked.%lld.%llu", (long long)loop_date(reconciler->loop),
                                          (unsigned long long)++reconciler->asked_serial),
                       .done = done,
                       .context = context};
    reconciler->asked = asked;
    keyed.key = asked->key;
    send_order(reconciler, &keyed);
}

bool reconciler_is_synced(const struct reconciler *reconciler)
{
    return !reconciler->client ||
           (reconciler->reflector && kube_reflector_synced(reconciler->reflector));
}

bool reconciler_is_connected(const struct reconciler *reconciler)
{
    struct kube_reflector_counts counts;

    if (!reconciler->client)
        return true;
    if (!reconciler->reflector)
        return false;
    counts = kube_reflector_counts(reconciler->reflector);
    return loop_now(reconciler->loop) - counts.last_heard_usec < SILENCE_MOST_USEC;
}

struct reconciler_numbers reconciler_numbers(const struct reconciler *reconciler)
{
    struct reconciler_numbers numbers = {0};

    for (const struct node_pod *entry = reconciler->node.pods; entry; entry = entry->next)
        numbers.pods++;
    for (enum wish_kind kind = WISH_CAPTURE; kind <= WISH_RESTORE; kind++) {
        numbers.running[kind] = node_count(&reconciler->node, kind, WORK_RUNNING);
        numbers.queued[kind] = node_count(&reconciler->node, kind, WORK_QUEUED);
    }
    return numbers;
}

static void connect_client(struct reconciler *reconciler)
{
    struct kube_queue_options queue = {.at_once = REPORTS_AT_ONCE,
                                       .retry_least_msec = 200,
                                       .retry_most_msec = 5000,
                                       .work = report,
                                       .context = reconciler};

    reconciler->recorder =
        kube_recorder_new(reconciler->client, "snapshot", reconciler->settings->node);
    reconciler->reports = kube_queue_new(reconciler->loop, &queue);
    reconciler->holds = holds_new(reconciler->client, reconciler->settings->node);
}

int reconciler_new(const struct reconciler_options *options, struct reconciler **ret,
                   struct error *error)
{
    struct reconciler *reconciler = allocate(sizeof *reconciler);
    const struct agent_settings *settings = options->settings;
    int r;

    *reconciler = (struct reconciler){
        .loop = options->loop,
        .client = options->client,
        .settings = settings,
        .metrics = options->metrics,
        .rules = {.pod_mount = settings->pod_mount, .base = settings->base_path},
        .limits = {settings->capture_attempts, settings->restore_attempts},
        .broken = options->broken,
        .context = options->context,
    };
    memcpy(reconciler->rules.enabled, settings->protocols, sizeof settings->protocols);
    loop_add_timer(reconciler->loop, LOOP_NEVER, on_again, reconciler, &reconciler->again);
    if (reconciler->client)
        connect_client(reconciler);
    r = channel_new(reconciler->loop, options->channel, on_message, on_channel_end, reconciler,
                    &reconciler->channel, error);
    if (r < 0) {
        reconciler_free(reconciler);
        return r;
    }
    *ret = reconciler;
    return 0;
}

void reconciler_free(struct reconciler *reconciler)
{
    if (!reconciler)
        return;
    while (reconciler->calls) {
        struct report_call *call = reconciler->calls;

        reconciler->calls = call->next;
        report_free(call->report);
        free(call->key);
        free(call);
    }
    while (reconciler->asked) {
        struct asked *asked = reconciler->asked;

        reconciler->asked = asked->next;
        free(asked->key);
        free(asked);
    }
    backlog_done(&reconciler->backlog);
    kube_reflector_free(reconciler->reflector);
    kube_queue_free(reconciler->reports);
    kube_recorder_free(reconciler->recorder);
    holds_free(reconciler->holds);
    channel_free(reconciler->channel);
    loop_source_free(reconciler->again);
    node_done(&reconciler->node);
    free(reconciler);
}
