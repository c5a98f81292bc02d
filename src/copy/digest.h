/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums in parallel. The digest of a file is XXH3-128 over the sequence of the XXH3-128 digests
 * (16 bytes each, canonical, big-endian) of its blocks of 64 MiB; the last block may be shorter, an
 * empty file has none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "copy/engine.h"

enum { DIGEST_BLOCK = COPY_RANGE_DEFAULT, DIGEST_HEX_LENGTH = 32 };

struct digest {
    uint8_t bytes[16];
};

bool digest_equal(const struct digest *a, const struct digest *b);

/* 32 lower-case hexadecimal digits and a zero. */
void digest_to_hex(const struct digest *digest, char ret_hex[DIGEST_HEX_LENGTH + 1]);

/* 0, or -EINVAL for anything but 32 lower-case hexadecimal digits. */
int digest_from_hex(const char *hex, struct digest *ret_digest);

/* Plain XXH3-128 of some bytes in memory. 0 or -ENOMEM. */
int digest_bytes(const void *data, size_t length, struct digest *ret_digest);

/* Digests of objects of a source, by the rule above. With more than one thread call it in a leaf
 * only. `ret_digests` has room for `count`. */
int digest_objects(const struct copy_source *source, const uint64_t *sizes, size_t count,
                   unsigned threads, const struct progress *progress, struct digest *ret_digests,
                   struct error *error);
