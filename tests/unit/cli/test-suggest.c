/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "cli/suggest.h"

static size_t distance(const char *a, const char *b)
{
    return edit_distance(a, strlen(a), b, strlen(b));
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(distance("", ""), 0);
    assert_int_equal(distance("abc", "abc"), 0);
    assert_int_equal(distance("abc", "acb"), 1);
    assert_int_equal(distance("abc", "ab"), 1);
    assert_int_equal(distance("kitten", "sitting"), 3);
    assert_int_equal(distance("", "abc"), 3);
}

static void check(const char *typed, const char *words, const char *expected)
{
    char *nearest = suggest_word(typed, words);

    if (expected)
        assert_string_equal(nearest, expected);
    else
        assert_null(nearest);
    free(nearest);
}

static void suggestions(void **state)
{
    (void)state;
    check("kep", "keep|close|refuse", "keep");
    check("colse", "keep|close|refuse", "close");
    check("ref", "keep|close|refuse", "refuse");
    check("x", "keep|close|refuse", NULL);
    check("banana", "keep|close|refuse", NULL);
    check("", "keep|close", NULL);
}

static void a_very_long_word(void **state)
{
    char word[4096];

    (void)state;
    memset(word, 'k', sizeof word - 1);
    word[sizeof word - 1] = 0;
    check(word, "keep|close", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(suggestions),
        cmocka_unit_test(a_very_long_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
