/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "cuda/device-map.h"

#define A "GPU-aaaaaaaa-0000-4000-8000-000000000001"
#define B "GPU-bbbbbbbb-0000-4000-8000-000000000002"
#define C "GPU-cccccccc-0000-4000-8000-000000000003"
#define D "GPU-dddddddd-0000-4000-8000-000000000004"

#define H200(id, gib)                                                      \
    {                                                                      \
        .uuid = id, .name = "NVIDIA H200", .memory = (uint64_t)(gib) << 30 \
    }
#define L4(id, gib)                                                      \
    {                                                                    \
        .uuid = id, .name = "NVIDIA L4", .memory = (uint64_t)(gib) << 30 \
    }

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void good(const char *text, const char *expected)
{
    CLEANUP(cuda_device_map_done) struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;
    struct error error = ERROR_INIT;
    char *formatted;

    assert_int_equal(cuda_device_map_parse(text, &map, &error), 0);
    formatted = cuda_device_map_format(&map);
    assert_string_equal(formatted, expected);
    free(formatted);
}

static void bad(const char *text, const char *code, const char *word)
{
    struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;
    struct error error = ERROR_INIT;

    assert_int_equal(cuda_device_map_parse(text, &map, &error), -EINVAL);
    assert_string_equal(error.code, code);
    assert_non_null(strstr(error.message, word));
    assert_null(map.pairs);
    error_done(&error);
}

static void parsing(void **state)
{
    (void)state;
    good(NULL, "");
    good("", "");
    good(A "=" B, A "=" B);
    good(A "=" A "," B "=" C, A "=" A "," B "=" C);
    good("AAAAAAAA-0000-4000-8000-000000000001=gpu-BBBBBBBB-0000-4000-8000-000000000002", A "=" B);
    bad(A, "cuda-device-map", "OLD=NEW");
    bad(A "=", "cuda-device-map", "is not the UUID");
    bad("=" A, "cuda-device-map", "is not the UUID");
    bad(A "=" B ",", "cuda-device-map", "OLD=NEW");
    bad("," A "=" B, "cuda-device-map", "OLD=NEW");
    bad(A "=" B "=" C, "cuda-device-map", "is not the UUID");
    bad(A "=" B " ", "cuda-device-map", "is not the UUID");
    bad("GPU-1=GPU-2", "cuda-device-map", "GPU-1");
    bad("GPU-aaaaaaaa-0000-4000-8000-00000000000g=" A, "cuda-device-map", "UUID");
    bad("MIG-aaaaaaaa-0000-4000-8000-000000000001=" A, "cuda-mig", "MIG");
    bad(A "=" B "," A "=" C, "cuda-device-map", "twice as an old");
    bad(A "=" C "," B "=" C, "cuda-device-map", "twice as a new");
}

static void too_many(void **state)
{
    char text[8192] = "";

    (void)state;
    for (int i = 0; i < 65; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text),
                       "%sGPU-aaaaaaaa-0000-4000-8000-%012d=GPU-bbbbbbbb-0000-4000-8000-%012d",
                       i ? "," : "", i, i);
    bad(text, "cuda-device-map", "More than 64");
}

static int checked(const char *text, const struct cuda_gpu *recorded, size_t recorded_count,
                   const struct cuda_gpu *present, size_t present_count, struct error *error)
{
    CLEANUP(cuda_device_map_done) struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;

    assert_int_equal(cuda_device_map_parse(text, &map, NULL), 0);
    error_done(error);
    return cuda_device_map_check(&map, recorded, recorded_count, present, present_count, error);
}

static void checking(void **state)
{
    const struct cuda_gpu recorded[] = {H200(A, 140), H200(B, 140)};
    const struct cuda_gpu present[] = {H200(B, 140), H200(C, 140), L4(D, 140), H200(A, 70)};
    struct error error = ERROR_INIT;

    (void)state;
    assert_int_equal(checked("", recorded, 2, recorded, 2, &error), 0);
    assert_int_equal(checked("", recorded, 2, present, 2, &error), -ENODEV);
    assert_string_equal(error.code, "cuda-gpu-missing");
    assert_non_null(strstr(error.message, A));
    assert_non_null(strstr(error.message, C));
    assert_int_equal(checked(A "=" C "," B "=" B, recorded, 2, present, 4, &error), 0);
    assert_int_equal(checked(A "=" C, recorded, 2, present, 4, &error), -EINVAL);
    assert_string_equal(error.code, "cuda-device-map");
    assert_non_null(strstr(error.message, B));
    assert_int_equal(checked(A "=" C "," B "=" D, recorded, 2, present, 4, &error), -ENODEV);
    assert_int_equal(checked(A "=" A "," B "=" B, recorded, 2, present, 4, &error), -ENODEV);
    assert_non_null(strstr(error.message, "too little memory"));
    assert_int_equal(checked(A "=" D "," B "=" B, recorded, 2, present, 2, &error), -ENODEV);
    error_done(&error);
}

static void automatic(const struct cuda_gpu *recorded, size_t recorded_count,
                      const struct cuda_gpu *present, size_t present_count, const char *expected)
{
    CLEANUP(cuda_device_map_done) struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;
    struct error error = ERROR_INIT;
    char *text;
    int result =
        cuda_device_map_automatic(recorded, recorded_count, present, present_count, &map, &error);

    if (error.code) {
        assert_int_equal(result, -ENODEV);
        assert_string_equal(error.code, expected);
        for (size_t i = 0; i < recorded_count; i++)
            assert_non_null(strstr(error.message, recorded[i].uuid));
        for (size_t i = 0; i < present_count; i++)
            assert_non_null(strstr(error.message, present[i].uuid));
        error_done(&error);
        return;
    }
    assert_int_equal(result, 0);
    text = cuda_device_map_format(&map);
    assert_string_equal(text, expected);
    free(text);
}

static void choosing(void **state)
{
    const struct cuda_gpu one[] = {H200(A, 140)}, other[] = {H200(B, 140)},
                          smaller[] = {H200(B, 70)}, different[] = {L4(B, 140)},
                          two[] = {H200(B, 140), H200(C, 140)}, mixed[] = {L4(C, 22), H200(D, 140)},
                          recorded[] = {H200(A, 140), L4(B, 22)},
                          staircase[] = {H200(C, 140), H200(D, 70)},
                          demand[] = {H200(A, 70), H200(B, 100)};

    (void)state;
    automatic(one, 1, one, 1, "");
    automatic(one, 0, one, 1, "");
    automatic(recorded, 2, recorded, 2, "");
    automatic(one, 1, other, 1, A "=" B);
    automatic(one, 1, smaller, 1, "cuda-gpu-missing");
    automatic(one, 1, different, 1, "cuda-gpu-missing");
    automatic(one, 1, one, 0, "cuda-gpu-missing");
    automatic(one, 1, two, 2, "cuda-gpu-ambiguous");
    automatic(two, 2, demand, 2, "cuda-gpu-missing");
    automatic(recorded, 2, mixed, 2, A "=" D "," B "=" C);
    /* Only one of the two big enough: what first comes to mind is not the answer. */
    automatic(demand, 2, staircase, 2, A "=" D "," B "=" C);
}

/* Sixteen that fit nowhere but one: no search through all the orders of them. */
static void choosing_is_quick(void **state)
{
    struct cuda_gpu recorded[16] = {{.memory = 0}}, present[16] = {{.memory = 0}};

    (void)state;
    for (int i = 0; i < 16; i++) {
        (void)snprintf(recorded[i].uuid, sizeof recorded[i].uuid,
                       "GPU-aaaaaaaa-0000-4000-8000-%012d", i);
        (void)snprintf(present[i].uuid, sizeof present[i].uuid, "GPU-bbbbbbbb-0000-4000-8000-%012d",
                       i);
        (void)snprintf(recorded[i].name, sizeof recorded[i].name, "NVIDIA H200");
        (void)snprintf(present[i].name, sizeof present[i].name, i ? "NVIDIA H200" : "NVIDIA L4");
    }
    automatic(recorded, 16, present, 16, "cuda-gpu-missing");
    (void)snprintf(present[0].name, sizeof present[0].name, "NVIDIA H200");
    automatic(recorded, 16, present, 16, "cuda-gpu-ambiguous");
}

static void uuids(void **state)
{
    struct stasis_cu_uuid uuid;
    char text[CUDA_UUID_TEXT_SIZE];

    (void)state;
    assert_int_equal(cuda_uuid_parse("GPU-01234567-89ab-cdef-0123-456789ABCDEF", &uuid, NULL), 0);
    assert_int_equal(uuid.bytes[0], 0x01);
    assert_int_equal(uuid.bytes[15], 0xef);
    cuda_uuid_format(&uuid, text);
    assert_string_equal(text, "GPU-01234567-89ab-cdef-0123-456789abcdef");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing),  cmocka_unit_test(too_many),          cmocka_unit_test(checking),
        cmocka_unit_test(choosing), cmocka_unit_test(choosing_is_quick), cmocka_unit_test(uuids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
