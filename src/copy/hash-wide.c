/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with -mavx2: the functions of xxhash.h become local to this file. */
#define XXH_INLINE_ALL

#include "copy/hash.h"

#include "copy/hash-body.h"

const struct hash_operations hash_wide = {
    .begin = body_begin, .update = body_update, .end = body_end};
