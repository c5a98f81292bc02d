/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/parallel.h"

#include <pthread.h>

#include "copy/engine.h"

struct crew {
    parallel_body body;
    void *context;
    atomic_bool stop;
    pthread_mutex_t lock; /* of the two below */
    int result;
    struct error error;
};

struct member {
    struct crew *crew;
    unsigned index;
    pthread_t thread;
};

static void crew_fail(struct crew *crew, int result, struct error *error)
{
    (void)pthread_mutex_lock(&crew->lock);
    if (crew->result == 0) {
        crew->result = result;
        error_move(&crew->error, error);
    }
    (void)pthread_mutex_unlock(&crew->lock);
    error_done(error);
    atomic_store(&crew->stop, true);
}

static void *member_main(void *argument)
{
    struct member *member = argument;
    struct error error = ERROR_INIT;
    int r = member->crew->body(member->crew->context, member->index, &member->crew->stop, &error);

    if (r < 0)
        crew_fail(member->crew, r, &error);
    return NULL;
}

int parallel_run(unsigned threads, parallel_body body, void *context, struct error *error)
{
    struct crew crew = {.body = body, .context = context, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct member members[COPY_THREADS_MAXIMUM];
    unsigned started = 1;

    if (threads > COPY_THREADS_MAXIMUM)
        threads = COPY_THREADS_MAXIMUM;
    for (; started < threads; started++) {
        members[started] = (struct member){.crew = &crew, .index = started};
        if (pthread_create(&members[started].thread, NULL, member_main, &members[started]) != 0)
            break;
    }
    members[0] = (struct member){.crew = &crew};
    (void)member_main(&members[0]);
    for (unsigned i = 1; i < started; i++)
        (void)pthread_join(members[i].thread, NULL);
    if (crew.result < 0)
        error_move(error, &crew.error);
    return crew.result;
}
