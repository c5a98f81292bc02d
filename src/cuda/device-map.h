/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which GPU takes the place of which one at a restore: "OLD=NEW,OLD=NEW", both GPU UUIDs. The
 * driver wants every GPU of the process named, also those that stay and those it never used.
 */
#pragma once

#include <stddef.h>

#include "cuda/gpu.h"

struct cuda_device_map {
    struct stasis_cu_checkpoint_gpu_pair *pairs; /* owned */
    size_t count;
};

#define CUDA_DEVICE_MAP_INIT ((struct cuda_device_map){0})

/* -EINVAL "cuda-device-map": not of that form, an old or a new GPU twice, more than 64. NULL and
 * "" are the empty map. */
int cuda_device_map_parse(const char *text, struct cuda_device_map *ret_map, struct error *error);

/* The caller frees it. */
char *cuda_device_map_format(const struct cuda_device_map *map);

/* Does it name every recorded GPU, and only GPUs that are present and suitable as new ones? An
 * empty map asks for the very same GPUs. -EINVAL "cuda-device-map", -ENODEV "cuda-gpu-missing". */
int cuda_device_map_check(const struct cuda_device_map *map, const struct cuda_gpu *recorded,
                          size_t recorded_count, const struct cuda_gpu *present,
                          size_t present_count, struct error *error);

/*
 * The map to use when nobody gave one: empty when all recorded GPUs are present; else the only
 * assignment of each recorded GPU to a present one of the same model with at least as much memory.
 * None, or more than one: -ENODEV "cuda-gpu-missing", "cuda-gpu-ambiguous", both sides listed.
 */
int cuda_device_map_automatic(const struct cuda_gpu *recorded, size_t recorded_count,
                              const struct cuda_gpu *present, size_t present_count,
                              struct cuda_device_map *ret_map, struct error *error);

void cuda_device_map_done(struct cuda_device_map *map);
