/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parallel copy engine. It moves the bytes of a list of objects (files, memory ranges, later
 * device memory and remote objects) from a source to a sink, both behind an ops table. The bytes
 * are cut into ranges; a thread takes one range at a time and works through it in order, piece by
 * piece, in a buffer of its own, so that the bytes in flight are bounded and a sink may keep state
 * (a running checksum) over a range without locks.
 *
 * With one thread the engine runs in the calling thread and starts none. With more, the caller
 * must be a leaf (copy/helper.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "copy/progress.h"

enum {
    COPY_ALIGNMENT = 4096,           /* of buffers, and of pieces within an object */
    COPY_PIECE_DEFAULT = 256 * 1024, /* stays in the caches between reading and using */
    COPY_RANGE_DEFAULT = 64 * 1024 * 1024,
    COPY_ZERO_GRAIN = 64 * 1024, /* zeros are found in units of this size, aligned to it */
    COPY_THREADS_MAXIMUM = 64,
};

/* A part of one object: what a thread works on. */
struct copy_range {
    size_t object;   /* index */
    uint64_t offset; /* a multiple of the job's range size */
    uint64_t length;
};

/* All functions are called from several threads at once, each for a range of its own. */
struct copy_source_operations {
    /* Optional. A thread starts a range; `*ret_cursor` is passed to the other functions. */
    int (*begin)(void *context, const struct copy_range *range, void **ret_cursor,
                 struct error *error);
    /* Fills `buffer` (aligned to COPY_ALIGNMENT) with exactly `length` bytes from `offset` on. */
    int (*read)(void *context, void *cursor, size_t object, uint64_t offset, void *buffer,
                size_t length, struct error *error);
    /* Optional. How many bytes from `offset` on (at most `length`) are known to be zero without
     * reading them. */
    uint64_t (*zeros)(void *context, void *cursor, size_t object, uint64_t offset, uint64_t length);
    /* Optional. Gives up the cursor of a range that was begun. */
    void (*end)(void *context, void *cursor);
};

struct copy_sink_operations {
    /* Optional. A thread starts a range; `*ret_cursor` is passed to the other functions. */
    int (*begin)(void *context, const struct copy_range *range, void **ret_cursor,
                 struct error *error);
    /* The next bytes of the range. `data` is valid until the function returns. */
    int (*write)(void *context, void *cursor, size_t object, uint64_t offset, const void *data,
                 size_t length, struct error *error);
    /* Optional. The next bytes of the range are zero. A sink without this gets them as data, and
     * data is then not searched for zeros. */
    int (*zero)(void *context, void *cursor, size_t object, uint64_t offset, uint64_t length,
                struct error *error);
    /* Optional. Ends a range that was begun; `complete` is false after a failure. */
    int (*end)(void *context, void *cursor, const struct copy_range *range, bool complete,
               struct error *error);
};

struct copy_source {
    const struct copy_source_operations *operations;
    void *context;
};

struct copy_sink {
    const struct copy_sink_operations *operations;
    void *context;
};

struct copy_job {
    const uint64_t *sizes; /* bytes of each object */
    size_t count;
    struct copy_source source;
    struct copy_sink sink;
    uint64_t range;   /* bytes a thread takes at a time; 0: COPY_RANGE_DEFAULT; else a multiple of
                         COPY_ALIGNMENT */
    size_t in_flight; /* most bytes in buffers, all threads together (at least COPY_ALIGNMENT a
                         thread); 0: COPY_PIECE_DEFAULT a thread */
    unsigned threads; /* 0: one for each processor that this process may use, at most 16 */
    const struct progress *progress; /* may be NULL; called in the calling thread */
};

/* Runs a job to its end. The first error stops all threads and is the one reported; a signal noted
 * by basic/interrupt.h is one ("interrupted"). */
int copy_run(const struct copy_job *job, struct error *error);

/* The number of threads that `wanted` stands for. */
unsigned copy_threads(unsigned wanted);

/* Whether all bytes are zero. */
bool copy_is_zero(const void *data, size_t length);
