/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: sim-reflector FIRST-SEED COUNT
 *
 * Objects come, change and go at a server with which everything goes wrong; after it has calmed
 * down, who follows them knows exactly what is there, every deletion was told once, and neither the
 * server nor the follower was flooded.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "fake-server.h"
#include "kube/object.h"
#include "kube/reflector.h"
#include "worlds.h"

#define COLLECTION "/api/v1/things"

enum { NAMES = 30, CHANGES = 150, KNOWN = 4096 };

struct seen { /* by uid */
    bool there, gone;
    char name[16], data[16];
};

struct world {
    uint64_t seed, random;
    struct virtual_clock clock;
    struct loop *loop;
    struct fake_server *server;
    struct kube_client *client;
    struct kube_reflector *reflector;
    struct loop_source *timer;
    unsigned changes, told, synced;
    struct seen seen[KNOWN];
};

#define must(world, condition)                                                              \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            (void)printf("seed %" PRIu64 ", at %" PRIu64 ": %s is not so\n", (world)->seed, \
                         (world)->clock.now_usec, #condition);                              \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

static struct seen *seen_of(struct world *world, const char *uid)
{
    unsigned long number = strtoul(uid + strlen("uid-"), NULL, 10);

    must(world, number > 0 && number < KNOWN);
    return &world->seen[number];
}

static void notice(const struct kube_notice *notice, void *context)
{
    struct world *world = context;
    struct seen *seen = seen_of(world, notice->uid);

    world->told++;
    if (notice->change == KUBE_DELETED) {
        must(world, seen->there && !seen->gone);
        seen->there = false;
        seen->gone = true;
        return;
    }
    must(world, !seen->gone);
    must(world, seen->there == (notice->change == KUBE_MODIFIED));
    for (unsigned i = 0; i < KNOWN && notice->change == KUBE_ADDED; i++)
        must(world, !world->seen[i].there || !text_equal(world->seen[i].name, notice->name));
    seen->there = true;
    (void)snprintf(seen->name, sizeof seen->name, "%s", notice->name);
    (void)snprintf(seen->data, sizeof seen->data, "%s", kube_text(notice->object, "data"));
}

static void synced(void *context)
{
    struct world *world = context;

    world->synced++;
}

static uint32_t chance(void *context)
{
    struct world *world = context;

    return fake_random(&world->random);
}

static void change_something(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct world *world = context;
    uint32_t dice = fake_random(&world->random);
    char name[16], data[16];

    (void)snprintf(name, sizeof name, "n%u", dice / 64 % NAMES);
    (void)snprintf(data, sizeof data, "d%u", world->changes);
    fake_server_put(world->server, COLLECTION, name, dice % 4 == 0 ? NULL : data);
    if (dice % 23 == 0)
        fake_server_compact(world->server);
    if (dice % 31 == 0)
        fake_server_down(world->server, true);
    else if (dice % 3 == 0)
        fake_server_down(world->server, false);
    if (++world->changes < CHANGES)
        loop_timer_set(source, now_usec + (dice % 7 == 0 ? dice % 40000000 : dice % 300000));
    else
        loop_stop(world->loop, 0);
}

static void stop(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct world *world = context;

    (void)source;
    (void)now_usec;
    loop_stop(world->loop, 0);
}

static void compare(struct world *world)
{
    size_t count = fake_server_count(world->server, COLLECTION), there = 0;

    for (unsigned i = 0; i < KNOWN; i++)
        there += world->seen[i].there;
    must(world, there == count);
    must(world, kube_reflector_count(world->reflector) == count);
    for (size_t i = 0; i < count; i++) {
        const json_t *object = fake_server_object(world->server, COLLECTION, i);
        const struct seen *seen = seen_of(world, kube_uid(object));

        must(world, seen->there && text_equal(seen->name, kube_name(object)));
        must(world, text_equal(seen->data, kube_text(object, "data")));
    }
}

static struct fake_rates make_rates(uint64_t *random)
{
    unsigned scale = fake_random(random) % 4; /* a quarter of the worlds is quiet */

    return (struct fake_rates){.refuse = scale * 50,
                               .silent = scale * 20,
                               .throttle = scale * 30,
                               .trouble = scale * 30,
                               .cut = scale * 40,
                               .repeat = scale * 100,
                               .late_410 = scale * 15,
                               .unauthorized = scale * 10};
}

static void run(uint64_t seed)
{
    struct world *world = allocate(sizeof *world);
    struct kube_reflector_options options = {.path = COLLECTION,
                                             .page_size = 7,
                                             .watch_sec = 60,
                                             .random = chance,
                                             .random_context = world,
                                             .notice = notice,
                                             .synced = synced,
                                             .context = world};
    struct loop_clock clock = virtual_clock_of(&world->clock);
    struct fake_rates rates;
    uint64_t requests, changed_until;

    world->seed = world->random = seed;
    rates = make_rates(&world->random);
    must(world, loop_new(&clock, &world->loop, NULL) == 0);
    world->server = fake_server_new(world->loop, seed * 7 + 1, &rates);
    world->client = kube_client_over(world->loop, NULL, fake_server_connect(world->server));
    for (unsigned i = 0; i < fake_random(&world->random) % NAMES; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "n%u", i);
        fake_server_put(world->server, COLLECTION, name, "first");
    }
    world->reflector = kube_reflector_new(world->client, &options);
    loop_add_timer(world->loop, 1000, change_something, world, &world->timer);
    (void)loop_run(world->loop); /* until the last change */
    changed_until = loop_now(world->loop);
    fake_server_calm(world->server);
    loop_add_timer(world->loop, changed_until + (uint64_t)120 * 1000000, stop, world, NULL);
    (void)loop_run(world->loop);
    must(world, world->synced > 0);
    compare(world);
    /* No storm: fewer notices than changes plus what was there; requests bounded by time. */
    must(world, world->told <= CHANGES + 2 * NAMES);
    requests = fake_server_requests(world->server);
    must(world, requests < 200 + changed_until / 100000);
    kube_reflector_free(world->reflector);
    kube_client_free(world->client);
    fake_server_free(world->server);
    loop_free(world->loop);
    free(world);
}

int main(int count, char **arguments)
{
    return worlds_main(count, arguments, run);
}
