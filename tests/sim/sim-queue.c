/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: sim-queue FIRST-SEED COUNT
 *
 * Keys are added at any time, work takes any time and sometimes fails: no key is worked on twice at
 * once, no more keys at once than allowed, whatever was added is worked on afterwards, and failures
 * wait longer and longer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "fake-server.h"
#include "kube/queue.h"
#include "worlds.h"

enum { KEYS = 12, ADDS = 300 };

struct world;

struct job {
    struct world *world;
    char key[8];
    bool working;
    uint64_t added_usec, begun_usec, done_usec; /* last times; LOOP_NEVER: never */
    uint64_t due_usec;                          /* latest of those that were to wait */
    unsigned failures;
    struct loop_source *timer;
};

struct world {
    uint64_t seed, random;
    struct virtual_clock clock;
    struct loop *loop;
    struct kube_queue *queue;
    struct loop_source *timer;
    unsigned adds, at_once, working, worked;
    bool calm;
    struct job jobs[KEYS];
};

static void must_at(const struct world *world, bool condition, int line)
{
    if (condition)
        return;
    (void)printf("seed %" PRIu64 ", line %d\n", world->seed, line);
    exit(1);
}

#define must(world, condition) must_at((world), (condition), __LINE__)

static void finish(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct job *job = context;
    struct world *world = job->world;
    bool bad = !world->calm && fake_random(&world->random) % 3 == 0;

    (void)source;
    job->working = false;
    job->done_usec = now_usec;
    world->working--;
    job->failures = bad ? job->failures + 1 : 0;
    kube_queue_done(world->queue, job->key, bad ? KUBE_WORK_RETRY : KUBE_WORK_DONE);
    must(world, kube_queue_failures(world->queue, job->key) == job->failures);
}

static void work(struct kube_queue *queue, const char *key, void *context)
{
    struct world *world = context;
    struct job *job = &world->jobs[strtoul(key + 1, NULL, 10)];
    uint64_t now = loop_now(world->loop);

    must(world, !job->working && kube_queue_is_working(queue, key));
    must(world, ++world->working <= world->at_once);
    must(world, kube_queue_working(queue) == world->working);
    /* Only the retry brings it here. */
    if (job->failures > 0 && job->added_usec < job->begun_usec && job->due_usec < job->begun_usec)
        must(world, now >= job->done_usec + ((uint64_t)5000 << (job->failures - 1)));
    job->working = true;
    job->begun_usec = now;
    world->worked++;
    if (fake_random(&world->random) % 4 == 0)
        finish(NULL, now, job);
    else
        loop_timer_set(job->timer, now + fake_random(&world->random) % 50000);
}

static void add(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct world *world = context;
    uint32_t dice = fake_random(&world->random);
    struct job *job = &world->jobs[dice % KEYS];

    job->added_usec = now_usec;
    if (dice % 5 == 0) {
        kube_queue_add_after(world->queue, job->key, dice % 100000);
        if (now_usec + dice % 100000 > job->due_usec)
            job->due_usec = now_usec + dice % 100000;
    } else {
        kube_queue_add(world->queue, job->key);
    }
    if (++world->adds < ADDS)
        loop_timer_set(source, now_usec + dice % 20000);
    else
        world->calm = true;
}

static void run(uint64_t seed)
{
    struct world *world = allocate(sizeof *world);
    struct loop_clock clock = virtual_clock_of(&world->clock);
    struct kube_queue_options options = {.work = work, .context = world};

    world->seed = world->random = seed;
    world->at_once = options.at_once = 1 + fake_random(&world->random) % 4;
    must(world, loop_new(&clock, &world->loop, NULL) == 0);
    world->queue = kube_queue_new(world->loop, &options);
    for (unsigned i = 0; i < KEYS; i++) {
        struct job *job = &world->jobs[i];

        *job = (struct job){.world = world, .added_usec = LOOP_NEVER, .begun_usec = LOOP_NEVER};
        (void)snprintf(job->key, sizeof job->key, "k%u", i);
        loop_add_timer(world->loop, LOOP_NEVER, finish, job, &job->timer);
    }
    loop_add_timer(world->loop, 0, add, world, &world->timer);
    (void)loop_run(world->loop); /* until nothing can happen any more */
    must(world, world->adds == ADDS && world->working == 0);
    must(world, kube_queue_waiting(world->queue) == 0 && kube_queue_working(world->queue) == 0);
    for (unsigned i = 0; i < KEYS; i++) {
        const struct job *job = &world->jobs[i];

        must(world, job->added_usec == LOOP_NEVER ||
                        (job->begun_usec != LOOP_NEVER && job->begun_usec >= job->added_usec));
    }
    kube_queue_free(world->queue);
    loop_free(world->loop);
    free(world);
}

int main(int count, char **arguments)
{
    return worlds_main(count, arguments, run);
}
