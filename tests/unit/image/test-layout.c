/* SPDX-License-Identifier: Apache-2.0 */
/* Names: ids, versions, references, scratch directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "image/layout.h"
#include "image/manifest.h"
#include "image/scratch.h"

static void test_root(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("STASIS_ROOT"), 0);
    assert_string_equal(snapshot_root(NULL), "/var/lib/stasis");
    assert_int_equal(setenv("STASIS_ROOT", "/somewhere", 1), 0);
    assert_string_equal(snapshot_root(NULL), "/somewhere");
    assert_string_equal(snapshot_root(""), "/somewhere");
    assert_string_equal(snapshot_root("/option"), "/option");
    assert_int_equal(setenv("STASIS_ROOT", "", 1), 0);
    assert_string_equal(snapshot_root(NULL), "/var/lib/stasis");
}

static void test_ids(void **state)
{
    static const char *const good[] = {"a", "0", "Llama-3.1_8b", "a..b", "a.", "Z9"};
    static const char *const bad[] = {"",    ".",   "..",       ".a",  "-a",   "_a",    "a/b",
                                      "a b", "a@1", "\xc3\xa4", "a\n", "../x", "a\x01", "a:b"};
    char longest[130];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(snapshot_id_check(good[i], NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error error = ERROR_INIT;

        assert_int_equal(snapshot_id_check(bad[i], &error), -EINVAL);
        assert_true(error_is(&error, "snapshot-id"));
        error_done(&error);
    }
    memset(longest, 'x', sizeof longest);
    longest[128] = 0;
    assert_int_equal(snapshot_id_check(longest, NULL), 0);
    longest[128] = 'x';
    longest[129] = 0;
    assert_int_equal(snapshot_id_check(longest, NULL), -EINVAL);
}

static void test_versions(void **state)
{
    static const char *const bad[] = {
        "",    "0",     "01", "-1", "+1", "1a", " 1", "9223372036854775808", "99999999999999999999",
        "1.0", "latest"};
    uint64_t version = 0;

    (void)state;
    assert_int_equal(snapshot_version_parse("17", &version), 0);
    assert_int_equal(version, 17);
    assert_int_equal(snapshot_version_parse("9223372036854775807", &version), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(snapshot_version_parse(bad[i], &version), -EINVAL);
}

static void test_references(void **state)
{
    static const char *const bad[] = {"", "@1", "a@", "a@0", "a@1@2", "a@x", "a/b@1", "a@latest"};
    char *id = NULL, *version = NULL;

    (void)state;
    assert_int_equal(snapshot_reference_parse("abc", &id, &version, NULL), 0);
    assert_string_equal(id, "abc");
    assert_null(version);
    free(id);
    assert_int_equal(snapshot_reference_parse("abc@12", &id, &version, NULL), 0);
    assert_string_equal(id, "abc");
    assert_string_equal(version, "12");
    free(id);
    free(version);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error error = ERROR_INIT;

        assert_int_equal(snapshot_reference_parse(bad[i], &id, &version, &error), -EINVAL);
        assert_true(error_is(&error, "snapshot-id"));
        error_done(&error);
    }
}

static void test_paths(void **state)
{
    static const char *const good[] = {"a", "a/b", "..a", "a/...", " ", "a/b/c.img"};
    static const char *const bad[] = {"",   "/",   "/a",     "a/",   "a//b", ".",
                                      "..", "a/.", "a/../b", "../a", "./a"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(manifest_path_is_sound(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(manifest_path_is_sound(bad[i]));
}

static void test_scratch_names(void **state)
{
    struct scratch_name name = scratch_name_new(SCRATCH_STAGING, 7), again, other;
    CLEANUP(free_ptr) char *text = scratch_name_format(&name);
    CLEANUP(free_ptr) char *second = NULL;

    (void)state;
    assert_int_equal(name.pid, getpid());
    assert_true(name.start_time > 0);
    assert_int_equal(scratch_name_parse(text, &again), 0);
    second = scratch_name_format(&again);
    assert_string_equal(text, second);
    assert_int_equal(again.version, 7);
    other = scratch_name_new(SCRATCH_STAGING, 7);
    assert_int_not_equal(name.count, other.count);
}

static void test_scratch_names_bad(void **state)
{
    static const char *const bad[] = {
        "",
        "1",
        ".staging-",
        ".staging-1-0123456789abcdef-1-2",
        ".staging-1-0123456789abcdef-0-2-3",
        ".staging-1-0123456789abcdef-1-2-3-4",
        ".staging-1-0123456789abcdef-1-2-3-",
        ".staging-1-0123456789ABCDEF-1-2-3",
        ".staging-1-123456789abcdef-1-2-3",
        ".staging-01-0123456789abcdef-1-2-3",
        ".staging-1-0123456789abcdef-99999999999-2-3",
        ".other-1-0123456789abcdef-1-2-3",
    };
    struct scratch_name name;

    (void)state;
    assert_int_equal(scratch_name_parse(".trash-1-0123456789abcdef-1-2-3", &name), 0);
    assert_int_equal(name.kind, SCRATCH_TRASH);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(scratch_name_parse(bad[i], &name), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_scratch_names),
        cmocka_unit_test(test_scratch_names_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
