/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: sim-agent FIRST-SEED COUNT
 *
 * The agent's loop on a node where pods of all protocols come, change their minds, restart and go,
 * while the API server fails in every way and agents are replaced at any moment. At every moment:
 * one operation on a container at a time, no more attempts than allowed, no workload told before
 * its Job is. Once all is calm: each outcome is on the API server, each workload knows its own, and
 * the journal has nothing of pods that are gone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent-pods.h"
#include "agent/metrics.h"
#include "agent/reconciler.h"
#include "agent/words.h"
#include "agent/work.h"
#include "basic/text.h"
#include "fake-executor.h"
#include "fake-server.h"
#include "kube/object.h"

enum { PODS = 24, ACTIONS = 150, FADE_USEC = 60000000, CALM_USEC = 900000000 };

struct world {
    uint64_t seed, random;
    struct virtual_clock clock;
    struct loop *loop;
    struct fake_server *server;
    struct fake_executor *executor;
    struct agent_settings settings;
    struct metrics *metrics;
    struct kube_client *client;
    struct reconciler *reconciler; /* NULL: no agent */
    struct loop_source *timer;
    unsigned actions, count;
    bool down;
    struct sim_pod pods[PODS];
};

static unsigned begun[4], outcomes, refused, leases, loud;

static void must_at(const struct world *world, bool condition, const struct sim_pod *pod, int line)
{
    if (condition)
        return;
    (void)printf("seed %" PRIu64 ", line %d, at %" PRIu64 " usec\n", world->seed, line,
                 world->clock.now_usec);
    if (pod) {
        char *text = json_dumps(sim_pod_object(pod, world->server), JSON_INDENT(1));

        (void)printf("%s %s protocol %d failures %u %u\n%s\n", pod->name, wish_kind_name(pod->kind),
                     (int)pod->protocol, pod->failures[0], pod->failures[1], text ? text : "gone");
        free(text);
    }
    exit(1);
}

#define must(world, condition, pod) must_at((world), (condition), (pod), __LINE__)

static uint32_t below(struct world *world, uint32_t most)
{
    return fake_random(&world->random) % most;
}

static struct sim_pod *pod_of(struct world *world, const char *uid)
{
    for (unsigned i = 0; i < world->count; i++) {
        if (text_equal(world->pods[i].uid, uid))
            return &world->pods[i];
    }
    must(world, false, NULL);
    return NULL;
}

static enum wish_kind kind_of(const struct order *order)
{
    return order->kind == ORDER_RESTORE || order->of_restore ? WISH_RESTORE : WISH_CAPTURE;
}

/* The word on the Job is there, and is the one that the workload is going to hear. */
static void check_told_late(const struct world *world, const struct sim_pod *pod,
                            const struct order *order)
{
    const json_t *job = sim_pod_job(pod, world->server);
    const char *word = order->success ? "completed" : "failed";

    must(world, order->success == pod->succeeded[kind_of(order)], pod);
    if (pod->protocol == PROTOCOL_STANDALONE || order->of_restore) {
        /* Their operations tell by themselves, unless they are killed. */
        must(world, pod->silent[kind_of(order)] && order->problem, pod);
        return;
    }
    if (job && pod->life != LIFE_GONE)
        must(world, text_equal(kube_annotation(job, ANNOTATION_CHECKPOINT_STATUS), word), pod);
}

static void began(const struct order *order, void *context)
{
    struct world *world = context;
    struct sim_pod *pod = pod_of(world, order->uid);
    enum wish_kind kind = kind_of(order);

    begun[order->kind]++;
    if (loud)
        (void)fprintf(stderr, "%" PRIu64 " begin %s\n", world->clock.now_usec, order->key);
    if (order->kind == ORDER_TELL) {
        check_told_late(world, pod, order);
        return;
    }
    must(world, pod->running == 0, pod);
    must(world, !order->problem_code == (order->id != NULL), pod);
    must(world, !pod->failed_for_good[kind], pod);
    must(world,
         pod->failures[kind] < (kind == WISH_CAPTURE ? world->settings.capture_attempts
                                                     : world->settings.restore_attempts),
         pod);
    must(world, kind == WISH_RESTORE || !pod->succeeded[kind], pod);
    pod->succeeded[kind] = pod->told[kind] = false;
    pod->running++;
}

static json_t *failed_result(struct world *world, const struct order *order)
{
    bool final = order->last || below(world, 2) == 0;
    json_t *result = json_pack("{sb ss ss}", "ok", 0, "code",
                               final ? "snapshot-damaged" : "criu-dump", "message", "made up");

    if (final)
        (void)json_object_set_new(result, "final", json_true());
    return result;
}

static json_t *carry_out(const struct order *order, bool cancelled, void *context)
{
    struct world *world = context;
    struct sim_pod *pod = pod_of(world, order->uid);
    json_t *result;

    if (cancelled && below(world, 4) > 0)
        return json_pack("{sb ss ss}", "ok", 0, "code", "interrupted", "message", "made up");
    if (pod->life != LIFE_RUNNING) {
        result = json_pack("{sb ss ss}", "ok", 0, "code", "container-not-found", "message", "none");
        if (order->kind == ORDER_RESTORE)
            (void)json_object_set_new(result, "not_running", json_true());
        else
            (void)json_object_set_new(result, "final", json_true());
        return result;
    }
    if (order->kind != ORDER_TELL && order->problem_code)
        result = json_pack("{sb sb sb ss ss}", "ok", 0, "final", 1, "refused", 1, "code",
                           order->problem_code, "message", order->problem);
    else if (order->kind != ORDER_TELL && below(world, 3) == 0)
        result = failed_result(world, order);
    else
        result = json_pack("{sb}", "ok", 1);
    (void)json_object_set_new(result, "container_id", json_string(pod->id));
    return result;
}

static void ended(const struct order *order, const json_t *result, void *context)
{
    struct world *world = context;
    struct sim_pod *pod = pod_of(world, order->uid);
    enum wish_kind kind = kind_of(order);
    bool ok = json_is_true(json_object_get(result, "ok"));

    if (loud)
        (void)fprintf(stderr, "%" PRIu64 " end %s %s\n", world->clock.now_usec, order->key,
                      ok ? "ok" : kube_text(result, "code"));
    if (order->kind == ORDER_TELL) {
        pod->told[kind] |= ok;
        pod->told_success[kind] = order->success;
        return;
    }
    pod->running--;
    if (ok) {
        pod->succeeded[kind] = true;
        pod->failures[kind] = pod->losses[kind] = 0;
    } else if (json_is_true(json_object_get(result, "refused"))) {
        pod->succeeded[kind] = false;
        pod->failures[kind] = pod->losses[kind] = 0;
        refused++;
    } else if (text_equal(kube_text(result, "code"), "operation-lost") &&
               ++pod->losses[kind] <= 3) {
        pod->succeeded[kind] = false;
    } else if (!text_equal(kube_text(result, "code"), "interrupted") &&
               !json_is_true(json_object_get(result, "not_running"))) {
        pod->succeeded[kind] = false;
        pod->failures[kind]++;
        pod->failed_for_good[kind] = json_is_true(json_object_get(result, "final"));
        pod->silent[kind] = !pod->failed_for_good[kind];
    }
}

static void broken(const struct error *error, void *context)
{
    (void)error;
    (void)context;
}

static void start_agent(struct world *world)
{
    struct reconciler_options options = {.loop = world->loop,
                                         .settings = &world->settings,
                                         .metrics = world->metrics,
                                         .broken = broken};

    world->client = options.client =
        kube_client_over(world->loop, NULL, fake_server_connect(world->server));
    options.channel = fake_executor_connect(world->executor);
    must(world, reconciler_new(&options, &world->reconciler, NULL) == 0, NULL);
}

static void stop_agent(struct world *world)
{
    if (!world->reconciler)
        return;
    reconciler_free(world->reconciler);
    world->reconciler = NULL;
    kube_client_free(world->client);
    fake_executor_disconnect(world->executor);
}

static void act_on_pod(struct world *world)
{
    struct sim_pod *pod = &world->pods[below(world, world->count)];

    switch (below(world, 16)) {
    case 0:
        sim_pod_delete(pod, world->server);
        break;
    case 1:
        sim_pod_end(pod, world->server, below(world, 2));
        break;
    case 2:
        sim_pod_relabel(pod, world->server, !pod->labelled);
        break;
    case 3:
        sim_pod_turn(pod, world->server);
        break;
    case 4:
        sim_pod_mistake(pod, world->server);
        break;
    default:
        sim_pod_step(pod, world->server, &world->random);
    }
}

static void act_on_machines(struct world *world)
{
    switch (below(world, 4)) {
    case 0:
        fake_server_compact(world->server);
        break;
    case 1:
        world->down = !world->down;
        fake_server_down(world->server, world->down);
        break;
    default:
        if (world->reconciler)
            stop_agent(world);
        else
            start_agent(world);
    }
}

/* Nothing new happens, while what goes wrong still does. */
static void fade(struct world *world)
{
    fake_server_down(world->server, false);
    for (unsigned i = 0; i < world->count; i++)
        sim_pod_calm(&world->pods[i], world->server);
    if (!world->reconciler)
        start_agent(world);
}

static void act(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct world *world = context;

    world->actions++;
    if (world->actions == ACTIONS) {
        fade(world);
        loop_timer_set(source, now_usec + FADE_USEC);
    } else if (world->actions == ACTIONS + 1) {
        fake_server_calm(world->server);
        fake_executor_calm(world->executor);
        loop_timer_set(source, now_usec + CALM_USEC);
    } else if (world->actions > ACTIONS) {
        loop_stop(world->loop, 0);
    }
    if (world->actions >= ACTIONS)
        return;
    if (below(world, 8) == 0 && world->count < PODS) {
        sim_pod_make(&world->pods[world->count], world->server, world->count, &world->random);
        world->count++;
    } else if (below(world, 8) == 0) {
        act_on_machines(world);
    } else if (world->count) {
        act_on_pod(world);
    }
    loop_timer_set(source, now_usec + below(world, below(world, 4) ? 400000 : 8000000));
}

/* The word about a pod that should be there: "completed", "failed", or NULL: nothing is expected.
 */
static const char *word_of(const struct world *world, const struct sim_pod *pod)
{
    unsigned most = pod->kind == WISH_CAPTURE ? world->settings.capture_attempts
                                              : world->settings.restore_attempts;

    if (pod->failed_for_good[pod->kind] || pod->failures[pod->kind] >= most)
        return "failed";
    if (pod->succeeded[pod->kind])
        return "completed";
    if (pod->life == LIFE_ENDED)
        return NULL;
    must(world, false, pod); /* it waits for ever */
    return NULL;
}

static void check_condition(const struct world *world, const struct sim_pod *pod, const char *word)
{
    const json_t *condition =
        kube_condition(sim_pod_object(pod, world->server),
                       pod->kind == WISH_CAPTURE ? CONDITION_CHECKPOINTED : CONDITION_RESTORED);
    const char *reason = kube_text(condition, "reason");

    must(world, reason != NULL, pod);
    must(world, text_ends_with(reason, text_equal(word, "completed") ? "Succeeded" : "Failed"),
         pod);
}

/* Nobody waits for a word that does not come. */
static void check_told(const struct world *world, const struct sim_pod *pod, const char *word)
{
    bool failed = text_equal(word, "failed");

    if (pod->life != LIFE_RUNNING)
        return;
    if (pod->kind == WISH_RESTORE || pod->protocol == PROTOCOL_STANDALONE)
        must(world, pod->told[pod->kind] == (failed && pod->silent[pod->kind]), pod);
    else
        must(world, pod->told[pod->kind], pod);
    if (pod->told[pod->kind])
        must(world, pod->told_success[pod->kind] == !failed, pod);
}

/* One may outlive an agent that was killed, but not its Job: the API server removes it with that.
 */
static void check_lease(const struct world *world, const struct sim_pod *pod)
{
    const json_t *lease = fake_server_find(world->server, LEASES_PATH, pod->name);
    const json_t *owner = json_array_get(kube_get(lease, "metadata", "ownerReferences"), 0);

    if (!lease)
        return;
    leases++;
    must(world, kube_text(owner, "uid") && text_equal(kube_text(owner, "name"), pod->name), pod);
}

static void check_pod(const struct world *world, const struct sim_pod *pod)
{
    const json_t *object = sim_pod_object(pod, world->server), *job;
    const char *word;

    must(world, pod->running == 0, pod);
    check_lease(world, pod);
    if (!object || !(word = word_of(world, pod)))
        return;
    outcomes++;
    check_condition(world, pod, word);
    check_told(world, pod, word);
    if (pod->kind == WISH_RESTORE) {
        must(world, text_equal(kube_annotation(object, ANNOTATION_RESTORE_STATUS), word), pod);
        return;
    }
    job = pod->protocol == PROTOCOL_STANDALONE ? NULL : sim_pod_job(pod, world->server);
    if (job)
        must(world, text_equal(kube_annotation(job, ANNOTATION_CHECKPOINT_STATUS), word), pod);
}

static void check(struct world *world)
{
    const struct order *order;

    for (unsigned i = 0; i < world->count; i++)
        check_pod(world, &world->pods[i]);
    for (size_t i = 0; (order = fake_executor_order(world->executor, i)); i++) {
        const struct sim_pod *pod = pod_of(world, order->uid);

        must(world, pod->life != LIFE_GONE, pod);
    }
}

static void set_up(struct world *world)
{
    const struct fake_rates rates = {.refuse = 30,
                                     .lose = 40,
                                     .silent = 10,
                                     .throttle = 20,
                                     .trouble = 30,
                                     .cut = 30,
                                     .repeat = 30,
                                     .late_410 = 10};
    const struct fake_executor_options executor = {.seed = world->seed,
                                                   .lose = 50,
                                                   .most_usec = 3000000,
                                                   .began = began,
                                                   .carry_out = carry_out,
                                                   .ended = ended,
                                                   .context = world};
    struct fake_executor_options options = executor;
    struct loop_clock clock = virtual_clock_of(&world->clock);

    world->settings = (struct agent_settings){.node = (char *)"n1",
                                              .restricted_namespace = (char *)"sim",
                                              .base_path = (char *)"/checkpoints",
                                              .capture_attempts = 1 + below(world, 3),
                                              .restore_attempts = 1 + below(world, 2),
                                              .captures_at_once = 1 + below(world, 3),
                                              .restores_at_once = 1 + below(world, 3)};
    for (unsigned i = 0; i < PROTOCOL_COUNT; i++)
        world->settings.protocols[i] = true;
    world->clock.date_usec = INT64_C(1700000000000000);
    must(world, loop_new(&clock, &world->loop, NULL) == 0, NULL);
    options.loop = world->loop;
    world->server = fake_server_new(world->loop, world->seed, &rates);
    world->executor = fake_executor_new(&options);
    world->metrics = metrics_new("n1");
    loop_add_timer(world->loop, 0, act, world, &world->timer);
}

static void run(uint64_t seed)
{
    struct world *world = allocate(sizeof *world);

    world->seed = world->random = seed;
    set_up(world);
    start_agent(world);
    (void)loop_run(world->loop);
    check(world);
    stop_agent(world);
    fake_executor_free(world->executor);
    metrics_free(world->metrics);
    fake_server_free(world->server);
    loop_free(world->loop);
    free(world);
}

int main(int count, char **arguments)
{
    uint64_t first = 0, seeds = 0;

    if (count < 3 || text_to_uint64(arguments[1], &first) < 0 ||
        text_to_uint64(arguments[2], &seeds) < 0)
        return 2;
    loud = count > 3;
    if (!loud)
        stderr = fopen("/dev/null", "w"); /* the agent's log; what is wrong with memory is heard */
    for (uint64_t i = 0; i < seeds; i++)
        run(first + i);
    (void)printf("%" PRIu64
                 " worlds: %u captures, %u restores, %u words to workloads, %u outcomes, "
                 "%u refused, %u leases left to their jobs\n",
                 seeds, begun[ORDER_CAPTURE], begun[ORDER_RESTORE], begun[ORDER_TELL], outcomes,
                 refused, leases);
    return 0;
}
