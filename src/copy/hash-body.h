/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of a `struct hash_operations`, compiled once for each kind of processor. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void *body_begin(void)
{
    XXH3_state_t *state = XXH3_createState();

    if (state)
        (void)XXH3_128bits_reset(state);
    return state;
}

static void body_update(void *state, const void *data, size_t length)
{
    (void)XXH3_128bits_update(state, data, length);
}

static void body_end(void *state, unsigned char ret_digest[16])
{
    if (ret_digest) {
        XXH128_canonical_t canonical;

        XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
        memcpy(ret_digest, canonical.digest, sizeof canonical.digest);
    }
    (void)XXH3_freeState(state);
}
