/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/engine.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/interrupt.h"
#include "copy/parallel.h"

struct engine {
    const struct copy_job *job;
    uint64_t range;
    size_t piece;
    uint64_t total;
    uint64_t step;     /* bytes between two reports */
    uint64_t reported; /* of the calling thread */
    atomic_uint_least64_t done;
    pthread_mutex_t lock; /* of `next` */
    struct copy_range next;
};

/* What one thread works with. */
struct worker {
    struct engine *engine;
    bool reports; /* the calling thread: progress and signals are its business */
    const atomic_bool *stop;
    char *buffer;
    void *source_cursor;
    void *sink_cursor;
};

unsigned copy_threads(unsigned wanted)
{
    cpu_set_t set;
    int count = 1;

    if (wanted > COPY_THREADS_MAXIMUM)
        return COPY_THREADS_MAXIMUM;
    if (wanted)
        return wanted;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        count = CPU_COUNT(&set);
    if (count < 1)
        return 1;
    return count > 16 ? 16 : (unsigned)count;
}

bool copy_is_zero(const void *data, size_t length)
{
    const unsigned char *bytes = data;
    size_t head = length < 16 ? length : 16;

    for (size_t i = 0; i < head; i++) {
        if (bytes[i])
            return false;
    }
    return length <= 16 || memcmp(bytes, bytes + 16, length - 16) == 0;
}

static bool take_range(struct engine *engine, struct copy_range *ret_range)
{
    const struct copy_job *job = engine->job;
    struct copy_range *next = &engine->next;
    bool found;

    (void)pthread_mutex_lock(&engine->lock);
    while (next->object < job->count && next->offset >= job->sizes[next->object])
        *next = (struct copy_range){.object = next->object + 1};
    found = next->object < job->count;
    if (found) {
        uint64_t left = job->sizes[next->object] - next->offset;

        next->length = left < engine->range ? left : engine->range;
        *ret_range = *next;
        next->offset += next->length;
    }
    (void)pthread_mutex_unlock(&engine->lock);
    return found;
}

static void account(struct worker *worker, uint64_t bytes)
{
    struct engine *engine = worker->engine;
    uint64_t done = atomic_fetch_add(&engine->done, bytes) + bytes;

    if (!worker->reports || done - engine->reported < engine->step || done >= engine->total)
        return;
    engine->reported = done;
    progress_update(engine->job->progress, done, engine->total);
}

static uint64_t known_zeros(struct worker *worker, size_t object, uint64_t offset, uint64_t length)
{
    const struct copy_source *source = &worker->engine->job->source;

    if (!source->operations->zeros)
        return 0;
    return source->operations->zeros(source->context, worker->source_cursor, object, offset,
                                     length);
}

static int sink_zero(struct worker *worker, size_t object, uint64_t offset, uint64_t length,
                     struct error *error)
{
    const struct copy_sink *sink = &worker->engine->job->sink;

    return sink->operations->zero(sink->context, worker->sink_cursor, object, offset, length,
                                  error);
}

static int sink_write(struct worker *worker, size_t object, uint64_t offset, const void *data,
                      size_t length, struct error *error)
{
    const struct copy_sink *sink = &worker->engine->job->sink;

    return sink->operations->write(sink->context, worker->sink_cursor, object, offset, data, length,
                                   error);
}

/* The length of the first run of grains that are all zero or all not. */
static size_t first_run(const char *data, size_t length, bool *ret_zero)
{
    size_t run = 0;

    while (run < length) {
        size_t grain = length - run < COPY_ZERO_GRAIN ? length - run : COPY_ZERO_GRAIN;
        bool zero = copy_is_zero(data + run, grain);

        if (run > 0 && zero != *ret_zero)
            break;
        *ret_zero = zero;
        run += grain;
    }
    return run;
}

static int deliver(struct worker *worker, size_t object, uint64_t offset, size_t length,
                   struct error *error)
{
    const char *data = worker->buffer;

    if (!worker->engine->job->sink.operations->zero)
        return sink_write(worker, object, offset, data, length, error);
    while (length > 0) {
        bool zero = false;
        size_t run = first_run(data, length, &zero);
        int r = zero ? sink_zero(worker, object, offset, run, error)
                     : sink_write(worker, object, offset, data, run, error);

        if (r < 0)
            return r;
        data += run;
        offset += run;
        length -= run;
    }
    return 0;
}

/* Moves the next piece; `*ret_length` says how long it was. */
static int move_piece(struct worker *worker, size_t object, uint64_t offset, uint64_t left,
                      uint64_t *ret_length, struct error *error)
{
    const struct copy_source *source = &worker->engine->job->source;
    size_t length = left < worker->engine->piece ? (size_t)left : worker->engine->piece;
    uint64_t zeros = known_zeros(worker, object, offset, left);
    int r;

    if (zeros >= length && worker->engine->job->sink.operations->zero) {
        *ret_length = zeros;
        return sink_zero(worker, object, offset, zeros, error);
    }
    *ret_length = length;
    if (zeros >= length) {
        memset(worker->buffer, 0, length);
        return sink_write(worker, object, offset, worker->buffer, length, error);
    }
    r = source->operations->read(source->context, worker->source_cursor, object, offset,
                                 worker->buffer, length, error);
    return r < 0 ? r : deliver(worker, object, offset, length, error);
}

static int move_range(struct worker *worker, const struct copy_range *range, struct error *error)
{
    uint64_t moved = 0;

    while (moved < range->length && !atomic_load_explicit(worker->stop, memory_order_relaxed)) {
        uint64_t length = 0;
        int r = worker->reports ? interrupt_check(error) : 0;

        if (r < 0)
            return r;
        r = move_piece(worker, range->object, range->offset + moved, range->length - moved, &length,
                       error);

        if (r < 0)
            return r;
        moved += length;
        account(worker, length);
    }
    return moved < range->length ? -ECANCELED : 0;
}

static int with_sink(struct worker *worker, const struct copy_range *range, struct error *error)
{
    const struct copy_sink *sink = &worker->engine->job->sink;
    int r, e;

    worker->sink_cursor = NULL;
    if (sink->operations->begin) {
        r = sink->operations->begin(sink->context, range, &worker->sink_cursor, error);
        if (r < 0)
            return r;
    }
    r = move_range(worker, range, error);
    if (sink->operations->end) {
        e = sink->operations->end(sink->context, worker->sink_cursor, range, r == 0,
                                  r < 0 ? NULL : error);
        if (r == 0)
            r = e;
    }
    return r;
}

static int with_source(struct worker *worker, const struct copy_range *range, struct error *error)
{
    const struct copy_source *source = &worker->engine->job->source;
    int r;

    worker->source_cursor = NULL;
    if (source->operations->begin) {
        r = source->operations->begin(source->context, range, &worker->source_cursor, error);
        if (r < 0)
            return r;
    }
    r = with_sink(worker, range, error);
    if (source->operations->end)
        source->operations->end(source->context, worker->source_cursor);
    return r;
}

static int work(void *context, unsigned index, const atomic_bool *stop, struct error *error)
{
    struct engine *engine = context;
    struct worker worker = {.engine = engine, .reports = index == 0, .stop = stop};
    CLEANUP(free_ptr) char *buffer = aligned_alloc(COPY_ALIGNMENT, engine->piece);
    struct copy_range range;
    int r = 0;

    if (!buffer)
        return error_set(error, "out-of-memory", ENOMEM, "No memory for a copy buffer");
    worker.buffer = buffer;
    while (r == 0 && !atomic_load(stop) && take_range(engine, &range))
        r = with_source(&worker, &range, error);
    return r == -ECANCELED && atomic_load(stop) ? 0 : r;
}

static uint64_t count_ranges(const struct engine *engine)
{
    uint64_t count = 0;

    for (size_t i = 0; i < engine->job->count; i++)
        count +=
            engine->job->sizes[i] / engine->range + (engine->job->sizes[i] % engine->range > 0);
    return count;
}

int copy_run(const struct copy_job *job, struct error *error)
{
    struct engine engine = {.job = job,
                            .range = job->range ? job->range : COPY_RANGE_DEFAULT,
                            .lock = PTHREAD_MUTEX_INITIALIZER};
    unsigned threads = copy_threads(job->threads);
    uint64_t ranges = count_ranges(&engine);
    int r;

    if (engine.range % COPY_ALIGNMENT)
        return error_set(error, "system", EINVAL, "A range of the copy engine is not aligned");
    for (size_t i = 0; i < job->count; i++) {
        if (__builtin_add_overflow(engine.total, job->sizes[i], &engine.total))
            return error_set(error, "system", EOVERFLOW, "Too many bytes to copy");
    }
    if (threads > ranges)
        threads = ranges ? (unsigned)ranges : 1;
    engine.piece = job->in_flight ? job->in_flight / threads : COPY_PIECE_DEFAULT;
    engine.piece -= engine.piece % COPY_ALIGNMENT;
    if (engine.piece < COPY_ALIGNMENT)
        engine.piece = COPY_ALIGNMENT;
    engine.step = engine.total / 200 > 1048576 ? engine.total / 200 : 1048576;
    r = parallel_run(threads, work, &engine, error);
    if (r == 0)
        progress_update(job->progress, engine.total, engine.total);
    return r;
}
