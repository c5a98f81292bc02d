/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "basic/clock.h"
#include "basic/text.h"
#include "cli/output.h"
#include "cli/progress-line.h"

static void check_safe(const char *text, const char *expected)
{
    char *safe = text_safe(text);

    assert_string_equal(safe, expected);
    free(safe);
}

static void safe_text(void **state)
{
    (void)state;
    check_safe("", "");
    check_safe("plain", "plain");
    check_safe("\033[2J", "\\x1b[2J");
    check_safe("a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f");
    check_safe("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
    check_safe("\xc2\x9b"
               "1m",
               "\\xc2\\x9b"
               "1m"); /* CSI as one C1 control */
    check_safe("\xff\xc3", "\\xff\\xc3");
    check_safe("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* a surrogate */
    check_safe("\xc0\xaf", "\\xc0\\xaf");          /* overlong */
    check_safe("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
}

static void check_wrapped(const char *text, size_t column, size_t indent, size_t width,
                          const char *expected)
{
    char *result = NULL;
    size_t length;
    FILE *stream = open_memstream(&result, &length);

    print_wrapped(stream, text, column, indent, width);
    (void)fclose(stream);
    assert_string_equal(result, expected);
    free(result);
}

static void wrapping(void **state)
{
    (void)state;
    check_wrapped("a b c", 0, 0, 3, "a b\nc\n");
    check_wrapped("aaaaaa b", 0, 2, 3, "aaaaaa\n  b\n");
    check_wrapped("one\n\ntwo", 0, 1, 80, "one\n\n two\n");
    check_wrapped("", 0, 0, 80, "\n");
    check_wrapped("a b", 79, 2, 80, "a\n  b\n");
}

static void tables(void **state)
{
    struct table *table = table_new("NAME|>SIZE|END");
    char *result = NULL;
    size_t length;
    FILE *stream = open_memstream(&result, &length);

    (void)state;
    table_print(table, stream);
    (void)fflush(stream);
    assert_int_equal(length, 0);
    table_add(table, text_copy("\xc3\xbc"));
    table_add(table, text_copy("12345"));
    table_add(table, NULL);
    table_print(table, stream);
    (void)fclose(stream);
    assert_string_equal(result, "NAME   SIZE  END\n\xc3\xbc     12345  -\n");
    free(result);
    table_free(table);
}

static void tables_with_empty_columns(void **state)
{
    struct table *table = table_new("A|>B||>PROBLEM");
    char *result = NULL;
    size_t length;
    FILE *stream = open_memstream(&result, &length);

    (void)state;
    for (int row = 0; row < 2; row++) {
        table_add(table, text_copy("a"));
        table_add(table, text_copy(row ? "22" : ""));
        table_add(table, text_copy(row ? "" : "x"));
        table_add(table, text_copy(""));
    }
    table_print(table, stream);
    (void)fclose(stream);
    assert_string_equal(result, "A   B\na      x\na  22\n");
    free(result);
    table_free(table);
}

static void ages(void **state)
{
    char *now = clock_date(), *age = text_age(now);

    (void)state;
    assert_non_null(strstr(age, " s"));
    free(now);
    free(age);
    age = text_age("yesterday");
    assert_string_equal(age, "?");
    free(age);
    age = text_age("2020-01-01T00:00:00Z");
    assert_non_null(strstr(age, " days"));
    free(age);
    age = text_duration(185);
    assert_string_equal(age, "3 min 5 s");
    free(age);
}

static char *progress_of(enum progress_mode mode)
{
    char *result = NULL;
    size_t length;
    FILE *stream = open_memstream(&result, &length);
    struct progress_line *line = progress_line_new(mode, stream);
    struct reporter *reporter = progress_line_reporter(line);

    reporter_phase_begin(reporter, "outer");
    reporter_phase_begin(reporter, "copy\033");
    reporter_bytes(reporter, 1 << 20, 1 << 20);
    reporter_phase_end(reporter, 0.5);
    reporter_note(reporter, "careful");
    for (int i = 0; i < 20; i++)
        reporter_phase_begin(reporter, "deep");
    for (int i = 0; i < 20; i++)
        reporter_phase_end(reporter, 0);
    reporter_phase_end(reporter, 1);
    reporter_phase_end(reporter, 1); /* one too many */
    reporter_phase_begin(reporter, "unfinished");
    progress_line_free(line);
    (void)fclose(stream);
    return result;
}

static void progress(void **state)
{
    char *text = progress_of(PROGRESS_PLAIN), *rest = NULL;

    (void)state;
    assert_ptr_equal(strstr(text, "  copy\\x1b: 0.50 s, 1.0 MiB, 2.0 MiB/s\nnote: careful\n"),
                     text);
    assert_non_null(strstr(text, "\nouter: 1.00 s\n"));
    free(text);

    text = progress_of(PROGRESS_NONE);
    assert_string_equal(text, "");
    free(text);

    text = progress_of(PROGRESS_JSON);
    for (char *row = strtok_r(text, "\n", &rest); row; row = strtok_r(NULL, "\n", &rest)) {
        json_t *object = json_loads(row, 0, NULL);

        assert_non_null(json_string_value(json_object_get(object, "event")));
        json_decref(object);
    }
    free(text);

    text = progress_of(PROGRESS_LINE); /* whatever was drawn is cleared at the end */
    assert_true(text_ends_with(text, "\r\033[K"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safe_text), cmocka_unit_test(wrapping),
        cmocka_unit_test(tables),    cmocka_unit_test(tables_with_empty_columns),
        cmocka_unit_test(ages),      cmocka_unit_test(progress),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
