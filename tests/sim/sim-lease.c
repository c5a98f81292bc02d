/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: sim-lease FIRST-SEED COUNT
 *
 * Several want one lease, each cut off from the server at times, some giving it up, some gone
 * without a word: never do two believe that they hold it, and when all is well one does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/text.h"
#include "fake-server.h"
#include "kube/lease.h"
#include "worlds.h"

#define SECOND ((uint64_t)1000000)

enum { RIVALS = 4, STEPS = 200 };

struct rival {
    struct world *world;
    char holder[16];
    struct kube_client *client;
    struct kube_lease *lease; /* NULL: gone */
    bool releasing, told;
};

struct world {
    uint64_t seed, random;
    struct virtual_clock clock;
    struct loop *loop;
    struct fake_server *server;
    struct rival rivals[RIVALS];
    unsigned steps, lives, acquired, lost;
};

static void must_at(const struct world *world, bool condition, int line)
{
    if (condition)
        return;
    (void)printf("seed %" PRIu64 ", at %" PRIu64 ", line %d\n", world->seed, world->clock.now_usec,
                 line);
    exit(1);
}

#define must(world, condition) must_at((world), (condition), __LINE__)

static unsigned believers(const struct world *world)
{
    unsigned count = 0;

    for (unsigned i = 0; i < RIVALS; i++)
        count += world->rivals[i].lease && kube_lease_held(world->rivals[i].lease);
    return count;
}

static void acquired(void *context)
{
    struct rival *rival = context;

    must(rival->world, !rival->told && kube_lease_held(rival->lease));
    must(rival->world, believers(rival->world) == 1);
    rival->told = true;
    rival->world->acquired++;
}

static void lost(const struct error *error, void *context)
{
    struct rival *rival = context;

    must(rival->world, error && error->code && rival->told);
    must(rival->world, !kube_lease_held(rival->lease));
    rival->told = false;
    rival->world->lost++;
}

static void go(struct rival *rival)
{
    kube_lease_free(rival->lease);
    rival->lease = NULL;
    rival->releasing = rival->told = false;
}

static void released(void *context)
{
    go(context);
}

static void come(struct rival *rival)
{
    struct kube_lease_options options = {.namespace = "default",
                                         .name = "one",
                                         .holder = rival->holder,
                                         .acquired = acquired,
                                         .lost = lost,
                                         .context = rival};

    (void)snprintf(rival->holder, sizeof rival->holder, "life-%u", rival->world->lives++);
    rival->lease = kube_lease_new(rival->client, &options);
}

static void step(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct world *world = context;
    uint32_t dice = fake_random(&world->random);
    struct rival *rival = &world->rivals[dice / 1024 % RIVALS];

    must(world, believers(world) <= 1);
    if (!rival->lease) {
        come(rival);
    } else if (dice % 8 == 0 && !rival->releasing) {
        rival->releasing = true;
        kube_lease_release(rival->lease, released);
    } else if (dice % 13 == 0) {
        go(rival);
    }
    if (dice % 17 == 0)
        fake_server_down(world->server, true);
    else if (dice % 3 == 0)
        fake_server_down(world->server, false);
    if (++world->steps < STEPS)
        loop_timer_set(source, now_usec + dice % (12 * SECOND));
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

static void run(uint64_t seed)
{
    struct world *world = allocate(sizeof *world);
    struct loop_clock clock = virtual_clock_of(&world->clock);
    const struct fake_rates rates = {
        .refuse = 60, .lose = 80, .silent = 40, .throttle = 20, .trouble = 40};

    world->seed = world->random = seed;
    world->clock.date_usec = (int64_t)1800000000 * 1000000;
    must(world, loop_new(&clock, &world->loop, NULL) == 0);
    world->server = fake_server_new(world->loop, seed * 3 + 1, &rates);
    for (unsigned i = 0; i < RIVALS; i++) {
        world->rivals[i].world = world;
        world->rivals[i].client =
            kube_client_over(world->loop, NULL, fake_server_connect(world->server));
        come(&world->rivals[i]);
    }
    loop_add_timer(world->loop, SECOND, step, world, NULL);
    (void)loop_run(world->loop);
    fake_server_calm(world->server);
    for (unsigned i = 0; i < RIVALS; i++) {
        if (!world->rivals[i].lease)
            come(&world->rivals[i]);
    }
    loop_add_timer(world->loop, loop_now(world->loop) + 90 * SECOND, stop, world, NULL);
    (void)loop_run(world->loop);
    must(world, believers(world) == 1);
    must(world, world->acquired > 3 && world->lost > 0);
    for (unsigned i = 0; i < RIVALS; i++) {
        kube_lease_free(world->rivals[i].lease);
        kube_client_free(world->rivals[i].client);
    }
    fake_server_free(world->server);
    loop_free(world->loop);
    free(world);
}

int main(int count, char **arguments)
{
    return worlds_main(count, arguments, run);
}
