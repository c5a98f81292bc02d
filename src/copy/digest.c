/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "copy/hash.h"

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void digest_to_hex(const struct digest *digest, char ret_hex[DIGEST_HEX_LENGTH + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof digest->bytes; i++) {
        ret_hex[2 * i] = digits[digest->bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    ret_hex[DIGEST_HEX_LENGTH] = 0;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return -1;
}

int digest_from_hex(const char *hex, struct digest *ret_digest)
{
    struct digest digest;

    if (strlen(hex) != DIGEST_HEX_LENGTH)
        return -EINVAL;
    for (size_t i = 0; i < sizeof digest.bytes; i++) {
        int high = digit_value(hex[2 * i]), low = digit_value(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return -EINVAL;
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_digest = digest;
    return 0;
}

int digest_bytes(const void *data, size_t length, struct digest *ret_digest)
{
    const struct hash_operations *hash = hash_best();
    void *state = hash->begin();

    if (!state)
        return -ENOMEM;
    hash->update(state, data, length);
    hash->end(state, ret_digest->bytes);
    return 0;
}

/* The digests of all blocks of all objects, one object after the other. */
struct digest_sink {
    const struct hash_operations *hash;
    size_t *first; /* of each object, in `blocks` */
    struct digest *blocks;
};

static size_t block_count(uint64_t size)
{
    return (size_t)(size / DIGEST_BLOCK + (size % DIGEST_BLOCK > 0));
}

static int sink_begin(void *context, const struct copy_range *range, void **ret_cursor,
                      struct error *error)
{
    struct digest_sink *sink = context;
    void *state = sink->hash->begin();

    (void)range;
    if (!state)
        return error_set(error, "out-of-memory", ENOMEM, "No memory for a checksum");
    *ret_cursor = state;
    return 0;
}

static int sink_write(void *context, void *cursor, size_t object, uint64_t offset, const void *data,
                      size_t length, struct error *error)
{
    struct digest_sink *sink = context;

    (void)object;
    (void)offset;
    (void)error;
    sink->hash->update(cursor, data, length);
    return 0;
}

static int sink_end(void *context, void *cursor, const struct copy_range *range, bool complete,
                    struct error *error)
{
    struct digest_sink *sink = context;
    size_t block = sink->first[range->object] + (size_t)(range->offset / DIGEST_BLOCK);

    (void)error;
    sink->hash->end(cursor, complete ? sink->blocks[block].bytes : NULL);
    return 0;
}

static int sink_prepare(struct digest_sink *sink, const uint64_t *sizes, size_t count)
{
    uint64_t blocks = 0;

    sink->hash = hash_best();
    sink->first = calloc(count + 1, sizeof *sink->first);
    if (!sink->first)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        sink->first[i] = (size_t)blocks;
        if (__builtin_add_overflow(blocks, block_count(sizes[i]), &blocks))
            return -ENOMEM;
    }
    sink->first[count] = (size_t)blocks;
    sink->blocks = calloc(blocks ? (size_t)blocks : 1, sizeof *sink->blocks);
    return sink->blocks ? 0 : -ENOMEM;
}

static void sink_done(struct digest_sink *sink)
{
    free(sink->first);
    free(sink->blocks);
}

static int summarize(const struct digest_sink *sink, size_t count, struct digest *ret_digests,
                     struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        size_t blocks = sink->first[i + 1] - sink->first[i];

        if (digest_bytes(&sink->blocks[sink->first[i]], blocks * sizeof *sink->blocks,
                         &ret_digests[i]) < 0)
            return error_set(error, "out-of-memory", ENOMEM, "No memory for a checksum");
    }
    return 0;
}

int digest_objects(const struct copy_source *source, const uint64_t *sizes, size_t count,
                   unsigned threads, const struct progress *progress, struct digest *ret_digests,
                   struct error *error)
{
    static const struct copy_sink_operations operations = {
        .begin = sink_begin, .write = sink_write, .end = sink_end};
    CLEANUP(sink_done) struct digest_sink sink = {0};
    struct copy_job job = {.sizes = sizes,
                           .count = count,
                           .source = *source,
                           .sink = {.operations = &operations, .context = &sink},
                           .range = DIGEST_BLOCK,
                           .threads = threads,
                           .progress = progress};
    int r = sink_prepare(&sink, sizes, count);

    if (r < 0)
        return error_set(error, "out-of-memory", r, "Too many blocks to checksum");
    r = copy_run(&job, error);
    return r < 0 ? r : summarize(&sink, count, ret_digests, error);
}
