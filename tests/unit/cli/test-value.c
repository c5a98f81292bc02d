/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "cli/value.h"

static void sizes(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"1048576", 0, 1048576},
        {"64K", 0, 65536},
        {"64k", 0, 65536},
        {"64KB", 0, 65536},
        {"64KiB", 0, 65536},
        {"1.5G", 0, UINT64_C(3) << 29},
        {"12B", 0, 12},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"16E", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
        {"K", -EINVAL, 0},
        {"1X", -EINVAL, 0},
        {"1 K", -EINVAL, 0},
        {"1Kx", -EINVAL, 0},
        {"1Ki", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 0;

        assert_int_equal(bytes_parse(cases[i].text, &bytes), cases[i].result);
        if (cases[i].result == 0)
            assert_int_equal(bytes, cases[i].bytes);
    }
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int result;
        long milliseconds;
    } cases[] = {
        {"90", 0, 90000},          {"0", 0, 0},         {"1.5s", 0, 1500},   {"250ms", 0, 250},
        {"5m", 0, 300000},         {"5min", 0, 300000}, {"2h", 0, 7200000},  {"1d", 0, 86400000},
        {"1w", 0, 604800000},      {"", -EINVAL, 0},    {"s", -EINVAL, 0},   {"-5", -EINVAL, 0},
        {"5 s", -EINVAL, 0},       {"5y", -EINVAL, 0},  {"1e3", -EINVAL, 0}, {"1..5", -EINVAL, 0},
        {"99999999w", -ERANGE, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double seconds = 0;

        assert_int_equal(duration_parse(cases[i].text, &seconds), cases[i].result);
        if (cases[i].result == 0)
            assert_int_equal((long)(seconds * 1000 + 0.5), cases[i].milliseconds);
    }
}

static void names(void **state)
{
    char longest[130];

    (void)state;
    memset(longest, 'a', sizeof longest);
    longest[128] = 0;
    assert_true(name_valid(longest));
    longest[128] = 'a';
    longest[129] = 0;
    assert_false(name_valid(longest));
    assert_true(name_valid("llama-8b_v1.2"));
    assert_false(name_valid(""));
    assert_false(name_valid(".hidden"));
    assert_false(name_valid("-x"));
    assert_false(name_valid("a/b"));
    assert_false(name_valid("a b"));
    assert_false(name_valid("a\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
