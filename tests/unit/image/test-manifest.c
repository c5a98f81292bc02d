/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests that are right, and every way of being wrong that a hostile writer may choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "image/manifest.h"

#define SUM "00112233445566778899aabbccddeeff"

static const char valid[] =
    "{\"format\": 1, \"id\": \"a\", \"version\": \"1\", \"created\": \"2026-11-21T10:11:12Z\","
    " \"bytes\": 30, \"checksum\": {\"name\": \"xxh3-128-of-blocks\", \"block\": 67108864},"
    " \"directories\": [\"d\", \"d/e\"], \"files\": ["
    "{\"path\": \"d/e/f\", \"bytes\": 10, \"sum\": \"" SUM "\"},"
    "{\"path\": \"b\", \"bytes\": 20, \"sum\": \"" SUM "\"}], \"later\": {\"x\": [1, null]}}";

static int parse(const char *text, size_t length, const char *expected_code)
{
    struct manifest *manifest = NULL;
    struct error error = ERROR_INIT;
    int r = manifest_parse(text, length, &manifest, &error);

    if (expected_code && !error_is(&error, expected_code))
        fail_msg("%.300s: %s (%s)", text, error.code ? error.code : "accepted",
                 error.message ? error.message : "");
    if (!expected_code && r < 0)
        fail_msg("%s", error.message);
    manifest_free(manifest);
    error_done(&error);
    return r;
}

/* The valid manifest with one part of it replaced. */
static char *with(const char *part, const char *replacement)
{
    const char *at = strstr(valid, part);

    assert_non_null(at);
    return text_format("%.*s%s%s", (int)(at - valid), valid, replacement, at + strlen(part));
}

static void refuse(const char *part, const char *replacement, const char *code)
{
    CLEANUP(free_ptr) char *text = with(part, replacement);

    assert_true(parse(text, strlen(text), code) < 0);
}

static void test_valid(void **state)
{
    struct manifest *manifest = NULL;

    (void)state;
    assert_int_equal(manifest_parse(valid, strlen(valid), &manifest, NULL), 0);
    assert_string_equal(manifest->id, "a");
    assert_string_equal(manifest->version, "1");
    assert_string_equal(manifest->created, "2026-11-21T10:11:12Z");
    assert_int_equal(manifest->bytes, 30);
    assert_int_equal(manifest->file_count, 2);
    assert_string_equal(manifest->files[0].path, "b");
    assert_int_equal(manifest_find(manifest, "d/e/f")->bytes, 10);
    assert_null(manifest_find(manifest, "d"));
    assert_true(manifest_has_directory(manifest, "d/e"));
    assert_false(manifest_has_directory(manifest, "b"));
    manifest_free(manifest);
    manifest_free(NULL);
}

static void test_versions(void **state)
{
    (void)state;
    refuse("\"format\": 1", "\"format\": 2", "snapshot-version");
    refuse("\"format\": 1", "\"format\": 999999999999", "snapshot-version");
    refuse("\"format\": 1", "\"format\": 0", "snapshot-manifest");
    refuse("\"format\": 1", "\"format\": -1", "snapshot-manifest");
    refuse("\"format\": 1", "\"format\": \"1\"", "snapshot-manifest");
    refuse("\"format\": 1", "\"format\": 1.0", "snapshot-manifest");
    refuse("\"format\": 1", "\"other\": 1", "snapshot-manifest");
}

static void test_unknown_version_is_explained(void **state)
{
    CLEANUP(free_ptr) char *text = with("\"format\": 1", "\"format\": 7, \"files\": 3");
    struct manifest *manifest = NULL;
    struct error error = ERROR_INIT;

    (void)state;
    free(text);
    text = with("\"format\": 1", "\"format\": 7");
    assert_int_equal(manifest_parse(text, strlen(text), &manifest, &error), -EPROTONOSUPPORT);
    assert_non_null(strstr(error.message, "format 7"));
    assert_non_null(strstr(error.message, "reads format 1"));
    error_done(&error);
}

static void test_members(void **state)
{
    static const char *const changes[][2] = {
        {"\"id\": \"a\"", "\"id\": \"../a\""},
        {"\"id\": \"a\"", "\"id\": \"\""},
        {"\"id\": \"a\"", "\"id\": 7"},
        {"\"id\": \"a\"", "\"ID\": \"a\""},
        {"\"version\": \"1\"", "\"version\": \"0\""},
        {"\"version\": \"1\"", "\"version\": 1"},
        {"\"created\": \"2026-11-21T10:11:12Z\"", "\"created\": \"yesterday\""},
        {"\"created\": \"2026-11-21T10:11:12Z\"", "\"created\": \"2026-11-21T10:11:12+0\""},
        {"\"created\": \"2026-11-21T10:11:12Z\"", "\"creator\": \"me\""},
        {"\"bytes\": 30", "\"bytes\": 31"},
        {"\"bytes\": 30", "\"bytes\": -30"},
        {"\"bytes\": 30", "\"bytes\": 30.0"},
        {"\"bytes\": 30", "\"bytes\": \"30\""},
        {"\"bytes\": 30", "\"bytes\": 99999999999999999999"},
        {"xxh3-128-of-blocks", "md5"},
        {"67108864", "4096"},
        {"67108864", "0"},
        {"\"checksum\": {\"name\": \"xxh3-128-of-blocks\", \"block\": 67108864}",
         "\"checksum\": 1"},
        {"[\"d\", \"d/e\"]", "{}"},
        {"[\"d\", \"d/e\"]", "[\"d\"]"},
        {"[\"d\", \"d/e\"]", "[\"d/e\"]"},
        {"[\"d\", \"d/e\"]", "[\"d\", \"d/e\", \"d\"]"},
        {"[\"d\", \"d/e\"]", "[\"d\", \"d/e\", \"b\"]"},
        {"[\"d\", \"d/e\"]", "[\"d\", \"d/e\", \"b/c\"]"},
        {"[\"d\", \"d/e\"]", "[\"d\", \"d/e\", 1]"},
        {"[\"d\", \"d/e\"]", "[\"d\", \"d/e\", \"manifest.json\"]"},
        {"[\"d\", \"d/e\"]", "[\"d\", \"d/e\", \"d/..\"]"},
        {"\"files\"", "\"fils\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        refuse(changes[i][0], changes[i][1], "snapshot-manifest");
}

static void test_files(void **state)
{
    static const char file[] = "{\"path\": \"b\", \"bytes\": 20, \"sum\": \"" SUM "\"}";
    static const char *const bad[] = {
        "7",
        "null",
        "{\"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": 1, \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"/b\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"../b\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"d/../../b\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"d//b\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"./b\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"b/\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"b\\u0000c\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"\xff\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"manifest.json\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"manifest.sum\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"d\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"d/e/f\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"d/e/f/g\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"nowhere/b\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"b\", \"bytes\": -20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"b\", \"bytes\": 9223372036854775807, \"sum\": \"" SUM "\"}",
        "{\"path\": \"b\", \"bytes\": 20, \"sum\": \"0011\"}",
        "{\"path\": \"b\", \"bytes\": 20, \"sum\": \"00112233445566778899AABBCCDDEEFF\"}",
        "{\"path\": \"b\", \"bytes\": 20, \"sum\": 1}",
        "{\"path\": \"b\", \"bytes\": 20}",
        "{\"path\": \"b\", \"path\": \"c\", \"bytes\": 20, \"sum\": \"" SUM "\"}",
        "{\"path\": \"b\", \"sum\": \"" SUM "\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(file, bad[i], "snapshot-manifest");
}

static void test_sizes_that_overflow(void **state)
{
    static const char huge[] =
        "{\"path\": \"x1\", \"bytes\": 9223372036854775807, \"sum\": \"" SUM "\"},"
        "{\"path\": \"x2\", \"bytes\": 9223372036854775807, \"sum\": \"" SUM "\"},"
        "{\"path\": \"x3\", \"bytes\": 32, \"sum\": \"" SUM "\"}";

    (void)state;
    refuse("{\"path\": \"b\", \"bytes\": 20, \"sum\": \"" SUM "\"}", huge, "snapshot-manifest");
}

static void test_not_json(void **state)
{
    static const char *const bad[] = {
        "", "{", "[]", "null", "{}", "\"", "{\"format\": 1,}", "\xff", "{\"format\": 1} x"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(parse(bad[i], strlen(bad[i]), "snapshot-manifest"), -EBADMSG);
    refuse("\"later\"", "\"format\"", "snapshot-manifest"); /* twice */
}

/* Every prefix of a valid one, and every one with a byte changed to something telling. */
static void test_cut_and_changed(void **state)
{
    static const char bytes[] = "\"{}[],:\\0\n\x01";
    char copy[sizeof valid];

    (void)state;
    for (size_t i = 0; i < strlen(valid); i++)
        assert_true(parse(valid, i, "snapshot-manifest") < 0);
    for (size_t i = 0; i < strlen(valid); i++) {
        for (size_t j = 0; j < sizeof bytes; j++) {
            struct manifest *manifest = NULL;

            memcpy(copy, valid, sizeof valid);
            copy[i] = bytes[j];
            if (manifest_parse(copy, strlen(valid), &manifest, NULL) == 0)
                manifest_free(manifest);
        }
    }
}

static void test_too_deep(void **state)
{
    CLEANUP(free_ptr) char *deep = allocate(200001);

    (void)state;
    memset(deep, '[', 200000);
    assert_int_equal(parse(deep, 200000, "snapshot-manifest"), -EBADMSG);
    refuse("[1, null]", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
           "snapshot-manifest");
}

static void test_too_many(void **state)
{
    size_t length = 2 * (size_t)MANIFEST_VALUES_MAXIMUM + 10;
    CLEANUP(free_ptr) char *many = allocate(length + 1);

    (void)state;
    for (size_t i = 0; i < length; i += 2) {
        many[i] = i ? ',' : '[';
        many[i + 1] = '1';
    }
    many[length - 1] = ']';
    assert_int_equal(parse(many, length, "snapshot-manifest"), -EBADMSG);
}

static void test_too_long(void **state)
{
    size_t length = (size_t)MANIFEST_BYTES_MAXIMUM + 1;
    CLEANUP(free_ptr) char *blanks = allocate(length);

    (void)state;
    memset(blanks, ' ', length);
    assert_int_equal(parse(blanks, length, "snapshot-manifest"), -EBADMSG);
}

/* The known value of XXH3-128 for no bytes, in the form of xxhsum. */
static void test_sum(void **state)
{
    CLEANUP(free_ptr) char *sum = manifest_sum("", 0);

    (void)state;
    assert_string_equal(sum, "99aa06d3014798d86001c324468d497f  manifest.json\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_unknown_version_is_explained),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_sizes_that_overflow),
        cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_cut_and_changed),
        cmocka_unit_test(test_too_deep),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_sum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
