/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/hash.h"

#include "copy/hash-body.h"

const struct hash_operations hash_plain = {
    .begin = body_begin, .update = body_update, .end = body_end};

const struct hash_operations *hash_best(void)
{
#if COPY_HASH_WIDE
    if (__builtin_cpu_supports("avx2"))
        return &hash_wide;
#endif
    return &hash_plain;
}
