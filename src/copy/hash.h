/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3-128 in the widest form that this processor has. */
#pragma once

#include <stddef.h>

struct hash_operations {
    void *(*begin)(void); /* NULL: no memory */
    void (*update)(void *state, const void *data, size_t length);
    void (*end)(void *state, unsigned char ret_digest[16]); /* canonical; `ret_digest` may be NULL;
                                                               gives up the state */
};

/* Chosen once. */
const struct hash_operations *hash_best(void);

extern const struct hash_operations hash_plain;
extern const struct hash_operations hash_wide; /* only with COPY_HASH_WIDE, needs AVX2 */
