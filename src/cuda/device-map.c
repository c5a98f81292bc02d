/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/device-map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "basic/cleanup.h"
#include "basic/text.h"

enum { GPUS_MAX = 64 };

static bool uuid_equal(const struct stasis_cu_uuid *a, const struct stasis_cu_uuid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static int pair_parse(char *text, struct stasis_cu_checkpoint_gpu_pair *pair, struct error *error)
{
    char *separator = strchr(text, '=');
    int result;

    if (!separator) {
        (void)error_set(error, "cuda-device-map", 0, "\"%.96s\" is not of the form OLD=NEW", text);
        return -EINVAL;
    }
    *separator = '\0';
    result = cuda_uuid_parse(text, &pair->old_uuid, error);
    if (result == 0)
        result = cuda_uuid_parse(separator + 1, &pair->new_uuid, error);
    return result;
}

static int pair_add(struct cuda_device_map *map, const struct stasis_cu_checkpoint_gpu_pair *pair,
                    struct error *error)
{
    char text[CUDA_UUID_TEXT_SIZE];

    for (size_t i = 0; i < map->count; i++) {
        bool same_old = uuid_equal(&map->pairs[i].old_uuid, &pair->old_uuid);

        if (!same_old && !uuid_equal(&map->pairs[i].new_uuid, &pair->new_uuid))
            continue;
        cuda_uuid_format(same_old ? &pair->old_uuid : &pair->new_uuid, text);
        (void)error_set(error, "cuda-device-map", 0, "%s is named twice as %s GPU", text,
                        same_old ? "an old" : "a new");
        return -EINVAL;
    }
    if (map->count == GPUS_MAX) {
        (void)error_set(error, "cuda-device-map", 0, "More than %d GPUs", GPUS_MAX);
        return -EINVAL;
    }
    if (!map->pairs)
        map->pairs = allocate(GPUS_MAX * sizeof *map->pairs);
    map->pairs[map->count++] = *pair;
    return 0;
}

int cuda_device_map_parse(const char *text, struct cuda_device_map *ret_map, struct error *error)
{
    CLEANUP(cuda_device_map_done) struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;
    CLEANUP(free_ptr) char *copy = text_copy(text ? text : "");
    char *rest = copy, *item;

    while (*copy && (item = strsep(&rest, ",")) != NULL) {
        struct stasis_cu_checkpoint_gpu_pair pair;
        int result = pair_parse(item, &pair, error);

        if (result == 0)
            result = pair_add(&map, &pair, error);
        if (result < 0)
            return error_wrap(error, result, "Device map");
    }
    *ret_map = map;
    map = CUDA_DEVICE_MAP_INIT;
    return 0;
}

char *cuda_device_map_format(const struct cuda_device_map *map)
{
    char *text = text_copy("");

    for (size_t i = 0; i < map->count; i++) {
        char old_text[CUDA_UUID_TEXT_SIZE], new_text[CUDA_UUID_TEXT_SIZE];
        char *longer;

        cuda_uuid_format(&map->pairs[i].old_uuid, old_text);
        cuda_uuid_format(&map->pairs[i].new_uuid, new_text);
        longer = text_format("%s%s%s=%s", text, i ? "," : "", old_text, new_text);
        free(text);
        text = longer;
    }
    return text;
}

void cuda_device_map_done(struct cuda_device_map *map)
{
    free(map->pairs);
    *map = CUDA_DEVICE_MAP_INIT;
}

/* "GPU-… NVIDIA H200 139.8 GiB; GPU-… …" */
static char *gpus_describe(const struct cuda_gpu *gpus, size_t count)
{
    char *text = text_copy(count ? "" : "none");

    for (size_t i = 0; i < count; i++) {
        CLEANUP(free_ptr) char *memory = text_bytes(gpus[i].memory);
        char *longer =
            text_format("%s%s%s (%s, %s)", text, i ? "; " : "", gpus[i].uuid, gpus[i].name, memory);

        free(text);
        text = longer;
    }
    return text;
}

static const struct cuda_gpu *gpu_find(const struct cuda_gpu *gpus, size_t count, const char *uuid)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(gpus[i].uuid, uuid) == 0)
            return &gpus[i];
    }
    return NULL;
}

/* Unknown memory is no reason to refuse: the driver looks again. */
static bool gpu_fits(const struct cuda_gpu *recorded, const struct cuda_gpu *present)
{
    return strcmp(recorded->name, present->name) == 0 &&
           (recorded->memory == 0 || present->memory == 0 || present->memory >= recorded->memory);
}

static int both_sides(struct error *error, const char *code, const char *what,
                      const struct cuda_gpu *recorded, size_t recorded_count,
                      const struct cuda_gpu *present, size_t present_count)
{
    CLEANUP(free_ptr) char *old_text = gpus_describe(recorded, recorded_count);
    CLEANUP(free_ptr) char *new_text = gpus_describe(present, present_count);

    (void)error_set(error, code, 0, "%s. The snapshot needs: %s. This machine has: %s", what,
                    old_text, new_text);
    return -ENODEV;
}

static bool all_present(const struct cuda_gpu *recorded, size_t recorded_count,
                        const struct cuda_gpu *present, size_t present_count)
{
    for (size_t i = 0; i < recorded_count; i++) {
        if (!gpu_find(present, present_count, recorded[i].uuid))
            return false;
    }
    return true;
}

static int target_check(const struct cuda_gpu *old_gpu, const struct cuda_gpu *present,
                        size_t present_count, const struct stasis_cu_uuid *new_uuid,
                        struct error *error)
{
    char text[CUDA_UUID_TEXT_SIZE];
    const struct cuda_gpu *new_gpu;

    cuda_uuid_format(new_uuid, text);
    new_gpu = gpu_find(present, present_count, text);
    if (!new_gpu)
        return both_sides(error, "cuda-gpu-missing", "The device map names a GPU that is not here",
                          old_gpu, 1, present, present_count);
    if (!gpu_fits(old_gpu, new_gpu))
        return both_sides(error, "cuda-gpu-missing",
                          "The device map names a GPU of another model or with too little memory",
                          old_gpu, 1, new_gpu, 1);
    return 0;
}

int cuda_device_map_check(const struct cuda_device_map *map, const struct cuda_gpu *recorded,
                          size_t recorded_count, const struct cuda_gpu *present,
                          size_t present_count, struct error *error)
{
    if (map->count == 0) {
        if (all_present(recorded, recorded_count, present, present_count))
            return 0;
        return both_sides(error, "cuda-gpu-missing", "A GPU of the snapshot is not here", recorded,
                          recorded_count, present, present_count);
    }
    for (size_t i = 0; i < recorded_count; i++) {
        const struct stasis_cu_uuid *new_uuid = NULL;
        struct stasis_cu_uuid old_uuid;
        int result = cuda_uuid_parse(recorded[i].uuid, &old_uuid, error);

        if (result < 0)
            return result;
        for (size_t j = 0; j < map->count && !new_uuid; j++) {
            if (uuid_equal(&map->pairs[j].old_uuid, &old_uuid))
                new_uuid = &map->pairs[j].new_uuid;
        }
        if (!new_uuid) {
            (void)error_set(error, "cuda-device-map", 0,
                            "The device map does not name %s (%s); it has to name every GPU of the "
                            "snapshot, also those that stay",
                            recorded[i].uuid, recorded[i].name);
            return -EINVAL;
        }
        result = target_check(&recorded[i], present, present_count, new_uuid, error);
        if (result < 0)
            return result;
    }
    return 0;
}

/* Bipartite matching by augmenting paths: recorded GPUs on one side, present ones on the other. */
struct matching {
    const struct cuda_gpu *recorded, *present;
    size_t recorded_count, present_count;
    int of_recorded[GPUS_MAX], of_present[GPUS_MAX]; /* partner or -1 */
    int banned_recorded, banned_present;             /* an edge not to use, or -1 */
};

static bool edge(const struct matching *m, size_t i, size_t j)
{
    return !((int)i == m->banned_recorded && (int)j == m->banned_present) &&
           gpu_fits(&m->recorded[i], &m->present[j]);
}

static bool augment(struct matching *m, size_t i, bool *visited)
{
    for (size_t j = 0; j < m->present_count; j++) {
        if (visited[j] || !edge(m, i, j))
            continue;
        visited[j] = true;
        if (m->of_present[j] < 0 || augment(m, (size_t)m->of_present[j], visited)) {
            m->of_present[j] = (int)i;
            m->of_recorded[i] = (int)j;
            return true;
        }
    }
    return false;
}

static bool match_all(struct matching *m)
{
    memset(m->of_recorded, -1, sizeof m->of_recorded);
    memset(m->of_present, -1, sizeof m->of_present);
    for (size_t i = 0; i < m->recorded_count; i++) {
        bool visited[GPUS_MAX] = {false};

        if (!augment(m, i, visited))
            return false;
    }
    return true;
}

/* A complete matching is the only one if none is left without any one of its edges. */
static bool match_is_unique(const struct matching *found)
{
    for (size_t i = 0; i < found->recorded_count; i++) {
        struct matching other = *found;

        other.banned_recorded = (int)i;
        other.banned_present = found->of_recorded[i];
        if (match_all(&other))
            return false;
    }
    return true;
}

static int map_from_matching(const struct matching *m, struct cuda_device_map *ret_map,
                             struct error *error)
{
    CLEANUP(cuda_device_map_done) struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;

    for (size_t i = 0; i < m->recorded_count; i++) {
        struct stasis_cu_checkpoint_gpu_pair pair;
        int result = cuda_uuid_parse(m->recorded[i].uuid, &pair.old_uuid, error);

        if (result == 0)
            result = cuda_uuid_parse(m->present[m->of_recorded[i]].uuid, &pair.new_uuid, error);
        if (result == 0)
            result = pair_add(&map, &pair, error);
        if (result < 0)
            return result;
    }
    *ret_map = map;
    map = CUDA_DEVICE_MAP_INIT;
    return 0;
}

int cuda_device_map_automatic(const struct cuda_gpu *recorded, size_t recorded_count,
                              const struct cuda_gpu *present, size_t present_count,
                              struct cuda_device_map *ret_map, struct error *error)
{
    struct matching matching = {.recorded = recorded,
                                .present = present,
                                .recorded_count = recorded_count,
                                .present_count = present_count,
                                .banned_recorded = -1,
                                .banned_present = -1};

    if (all_present(recorded, recorded_count, present, present_count)) {
        *ret_map = CUDA_DEVICE_MAP_INIT;
        return 0;
    }
    if (recorded_count > GPUS_MAX || present_count > GPUS_MAX || !match_all(&matching))
        return both_sides(error, "cuda-gpu-missing", "The GPUs of the snapshot are not here",
                          recorded, recorded_count, present, present_count);
    if (!match_is_unique(&matching))
        return both_sides(error, "cuda-gpu-ambiguous",
                          "More than one GPU could take a place: say which (OLD=NEW,…)", recorded,
                          recorded_count, present, present_count);
    return map_from_matching(&matching, ret_map, error);
}
