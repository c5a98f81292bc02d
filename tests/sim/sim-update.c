/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: sim-update FIRST-SEED COUNT
 *
 * Several writers each add their own names to one object, read, modify, write, while answers are
 * lost and others write in between: whatever was reported as written is there, nobody's name is
 * lost. Events are told meanwhile, and none of it is held up by them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/text.h"
#include "fake-server.h"
#include "kube/events.h"
#include "kube/object.h"
#include "kube/update.h"
#include "worlds.h"

enum { WRITERS = 5, NAMES = 20 };

struct writer {
    struct world *world;
    unsigned number, next;
    bool written[NAMES];
    struct kube_client *client;
    struct kube_recorder *recorder;
};

struct world {
    uint64_t seed, random;
    struct virtual_clock clock;
    struct loop *loop;
    struct fake_server *server;
    struct writer writers[WRITERS];
    unsigned failures;
};

static const struct kube_resource things = {"v1", "things"};

static void must_at(const struct world *world, bool condition, int line)
{
    if (condition)
        return;
    (void)printf("seed %" PRIu64 ", line %d\n", world->seed, line);
    exit(1);
}

#define must(world, condition) must_at((world), (condition), __LINE__)

static char *key_of(const struct writer *writer, unsigned name)
{
    return text_format("w%u-%u", writer->number, name);
}

static int modify(json_t *object, void *context, struct error *error)
{
    const struct writer *writer = context;
    char *key = key_of(writer, writer->next);
    bool there = json_object_get(object, key) != NULL;

    (void)error;
    if (!there)
        (void)json_object_set_new(object, key, json_true());
    free(key);
    return !there;
}

static void start(struct writer *writer);

static void done(const struct kube_answer *answer, const struct error *error, void *context)
{
    struct writer *writer = context;
    const struct kube_involved involved = {
        .api_version = "v1", .kind = "Thing", .name = "one", .uid = "uid-1"};

    if (error) {
        writer->world->failures++;
    } else {
        char *key = key_of(writer, writer->next);

        must(writer->world, json_object_get(answer->body, key) != NULL);
        free(key);
        writer->written[writer->next] = true;
    }
    kube_event(writer->recorder, &involved, KUBE_EVENT_NORMAL, "Written", "by %u", writer->number);
    if (++writer->next < NAMES)
        start(writer);
}

static void start(struct writer *writer)
{
    json_t *initial = json_pack("{s:{s:s}}", "metadata", "name", "one");
    const struct kube_update_options options = {
        .reference = {.resource = &things, .namespace = "default", .name = "one"},
        .initial = initial,
        .modify = modify,
        .done = done,
        .context = writer};

    (void)kube_update_start(writer->client, &options);
    json_decref(initial);
}

static void check(struct world *world)
{
    const json_t *object =
        fake_server_find(world->server, "/api/v1/namespaces/default/things", "one");
    unsigned written = 0;

    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *writer = &world->writers[i];
        struct kube_recorder_counts counts = kube_recorder_counts(writer->recorder);

        must(world, writer->next == NAMES);
        must(world, counts.written + counts.counted_up + counts.failed + counts.dropped > 0);
        must(world, counts.written + counts.counted_up <= NAMES);
        for (unsigned name = 0; name < NAMES; name++) {
            char *key = key_of(writer, name);

            must(world, !writer->written[name] || json_object_get(object, key));
            written += writer->written[name];
            free(key);
        }
    }
    must(world, written + world->failures == WRITERS * NAMES);
    must(world, written > WRITERS * NAMES * 3 / 4);
    must(world,
         fake_server_count(world->server, "/api/v1/namespaces/default/events") <= WRITERS * NAMES);
}

static void run(uint64_t seed)
{
    struct world *world = allocate(sizeof *world);
    struct loop_clock clock = virtual_clock_of(&world->clock);
    const struct fake_rates rates = {
        .refuse = 30, .lose = 60, .silent = 10, .throttle = 30, .trouble = 30};

    world->seed = world->random = seed;
    must(world, loop_new(&clock, &world->loop, NULL) == 0);
    world->server = fake_server_new(world->loop, seed, &rates);
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *writer = &world->writers[i];

        writer->world = world;
        writer->number = i;
        writer->client = kube_client_over(world->loop, NULL, fake_server_connect(world->server));
        writer->recorder = kube_recorder_new(writer->client, "sim", "here");
        start(writer);
    }
    (void)loop_run(world->loop); /* until nothing can happen any more */
    check(world);
    for (unsigned i = 0; i < WRITERS; i++) {
        kube_recorder_free(world->writers[i].recorder);
        kube_client_free(world->writers[i].client);
    }
    fake_server_free(world->server);
    loop_free(world->loop);
    free(world);
}

int main(int count, char **arguments)
{
    return worlds_main(count, arguments, run);
}
