/* SPDX-License-Identifier: Apache-2.0 */
/* Listing, deleting, collecting garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fixture.h"
#include "image/manifest.h"
#include "image/scratch.h"
#include "image/snapshot.h"
#include "image/store-directory.h"
#include "image/store-gc.h"

static int set_up(void **state)
{
    (void)unsetenv("STASIS_FAULT");
    *state = fixture_root();
    return 0;
}

static int tear_down(void **state)
{
    fixture_root_remove(*state);
    return 0;
}

static void put(const char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(const char *text, const char *format, ...)
{
    CLEANUP(free_ptr) char *path = NULL;
    va_list arguments;

    va_start(arguments, format);
    path = text_vformat(format, arguments);
    va_end(arguments);
    fixture_text(AT_FDCWD, path, text);
}

static void test_list_nothing(void **state)
{
    CLEANUP(free_ptr) char *root = text_format("%s/nowhere", (const char *)*state);
    struct snapshot_list list = SNAPSHOT_LIST_INIT;

    assert_int_equal(store_list(root, NULL, &list, NULL), 0);
    assert_int_equal(list.count, 0);
    assert_int_equal(store_list(*state, NULL, &list, NULL), 0);
    assert_int_equal(list.count, 0);
    assert_int_equal(store_list(*state, "one", &list, NULL), 0);
    assert_int_equal(list.count, 0);
    assert_int_equal(store_list(*state, "../one", &list, NULL), -EINVAL);
}

static void test_list_root_that_is_a_file(void **state)
{
    CLEANUP(free_ptr) char *root = text_format("%s/file", (const char *)*state);
    struct snapshot_list list = SNAPSHOT_LIST_INIT;
    struct error error = ERROR_INIT;

    put("", "%s", root);
    assert_int_equal(store_list(root, NULL, &list, &error), -ENOTDIR);
    assert_true(error_is(&error, "snapshot-read"));
    error_done(&error);
}

/* Everything that may lie in a root by accident. */
static void add_oddities(const char *root)
{
    CLEANUP(free_ptr) char *empty = text_format("%s/empty/versions", root);
    CLEANUP(free_ptr) char *hidden = text_format("%s/.hidden/versions/1", root);
    CLEANUP(free_ptr) char *other = text_format("%s/two/versions/latest", root);
    CLEANUP(free_ptr) char *link = text_format("%s/link", root);

    put("", "%s/file", root);
    assert_int_equal(directory_create_all(empty, 0700), 0);
    assert_int_equal(directory_create_all(hidden, 0700), 0);
    assert_int_equal(directory_create_all(other, 0700), 0);
    assert_int_equal(symlink("one", link), 0);
}

static void check_entry(const struct snapshot_entry *entry, const char *id, const char *version,
                        enum snapshot_state state)
{
    assert_string_equal(entry->id, id);
    assert_string_equal(entry->version, version);
    assert_string_equal(snapshot_state_name(entry->state), snapshot_state_name(state));
    assert_int_equal(entry->problem == NULL, state == SNAPSHOT_COMPLETE);
    assert_int_equal(entry->created != NULL, state == SNAPSHOT_COMPLETE);
}

static void test_list(void **state)
{
    const char *root = *state;
    static const char later[] = "{\"format\": 2}";
    CLEANUP(free_ptr) char *sum = manifest_sum(later, strlen(later));
    CLEANUP(snapshot_list_done) struct snapshot_list list = SNAPSHOT_LIST_INIT;

    for (int i = 0; i < 10; i++)
        fixture_snapshot(root, "two", NULL);
    fixture_snapshot(root, "one", "2026-01-02T03:04:05Z");
    put("{}", "%s/two/versions/2/manifest.json", root);
    put(later, "%s/two/versions/3/manifest.json", root);
    put(sum, "%s/two/versions/3/manifest.sum", root);
    add_oddities(root);
    put("", "%s/two/versions/11", root);
    assert_int_equal(store_list(root, NULL, &list, NULL), 0);
    assert_int_equal(list.count, 12);
    check_entry(&list.entries[0], "one", "1", SNAPSHOT_COMPLETE);
    assert_string_equal(list.entries[0].created, "2026-01-02T03:04:05Z");
    assert_int_equal(list.entries[0].bytes, 1234 + 300001 + 1 + 65536 + 12);
    check_entry(&list.entries[1], "two", "1", SNAPSHOT_COMPLETE);
    check_entry(&list.entries[2], "two", "2", SNAPSHOT_DAMAGED);
    assert_true(list.entries[2].bytes > 300000);
    check_entry(&list.entries[3], "two", "3", SNAPSHOT_UNSUPPORTED);
    check_entry(&list.entries[10], "two", "10", SNAPSHOT_COMPLETE);
    check_entry(&list.entries[11], "two", "11", SNAPSHOT_DAMAGED);
}

static void test_list_one(void **state)
{
    CLEANUP(snapshot_list_done) struct snapshot_list list = SNAPSHOT_LIST_INIT;

    fixture_snapshot(*state, "one", NULL);
    fixture_snapshot(*state, "two", NULL);
    assert_int_equal(store_list(*state, "two", &list, NULL), 0);
    assert_int_equal(list.count, 1);
    check_entry(&list.entries[0], "two", "1", SNAPSHOT_COMPLETE);
}

static void refuse_delete(const char *root, const char *reference, const char *code)
{
    struct error error = ERROR_INIT;

    assert_true(store_delete(root, reference, &error) < 0);
    if (!error_is(&error, code))
        fail_msg("%s: %s", error.code, error.message);
    error_done(&error);
}

static void test_delete(void **state)
{
    const char *root = *state;

    for (int i = 0; i < 3; i++)
        fixture_snapshot(root, "one", NULL);
    fixture_snapshot(root, "two", NULL);
    assert_int_equal(store_delete(root, "one@2", NULL), 0);
    assert_int_equal(fixture_count("%s/one/versions", root), 2);
    refuse_delete(root, "one@2", "snapshot-missing");
    refuse_delete(root, "three", "snapshot-missing");
    refuse_delete(root, "../one", "snapshot-id");
    assert_int_equal(store_delete(root, "one", NULL), 0);
    assert_int_equal(fixture_count("%s", root), 1); /* two */
    refuse_delete(root, "one", "snapshot-missing");
}

static void test_delete_takes_the_word_along(void **state)
{
    const char *root = *state;
    CLEANUP(free_ptr) char *done = text_format("%s/one/" SNAPSHOT_DONE, root);

    fixture_snapshot(root, "one", NULL);
    fixture_snapshot(root, "one", NULL);
    assert_int_equal(file_write_atomic(AT_FDCWD, done, "{}", 2), 0);
    assert_int_equal(store_delete(root, "one@1", NULL), 0);
    assert_int_equal(access(done, F_OK), 0);
    assert_int_equal(store_delete(root, "one@2", NULL), 0);
    assert_int_equal(fixture_count("%s", root), 0);
}

static void test_delete_keeps_what_is_not_ours(void **state)
{
    const char *root = *state;

    fixture_snapshot(root, "one", NULL);
    put("mine", "%s/one/notes", root);
    assert_int_equal(store_delete(root, "one", NULL), 0);
    assert_true(fixture_exists("%s/one/notes", root));
}

static void test_delete_damaged(void **state)
{
    const char *root = *state;
    CLEANUP(free_ptr) char *path = text_format("%s/one/versions/1/manifest.json", root);

    fixture_snapshot(root, "one", NULL);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(store_delete(root, "one", NULL), 0);
    assert_int_equal(fixture_count("%s", root), 0);
}

static void test_delete_never_follows_links(void **state)
{
    const char *root = *state;
    CLEANUP(free_ptr) char *precious = text_format("%s/precious", root);
    CLEANUP(free_ptr) char *link = text_format("%s/one/versions/2", root);
    CLEANUP(free_ptr) char *inside = text_format("%s/one/versions/1/link", root);

    fixture_snapshot(root, "one", NULL);
    assert_int_equal(mkdir(precious, 0700), 0);
    put("x", "%s/x", precious);
    assert_int_equal(symlink(precious, link), 0);
    assert_int_equal(symlink(precious, inside), 0);
    assert_int_equal(store_delete(root, "one", NULL), 0);
    assert_true(fixture_exists("%s/x", precious));
    assert_false(fixture_exists("%s/one", root));
}

static void test_delete_busy(void **state)
{
    const char *root = *state;
    struct snapshot *snapshot = NULL;

    fixture_snapshot(root, "one", NULL);
    assert_int_equal(snapshot_open(root, "one", &snapshot, NULL), 0);
    refuse_delete(root, "one@1", "snapshot-busy");
    refuse_delete(root, "one", "snapshot-busy");
    assert_int_equal(fixture_count("%s/one/versions", root), 1);
    snapshot_free(snapshot);
    assert_int_equal(store_delete(root, "one", NULL), 0);
}

static int delete_one(const char *root)
{
    return store_delete(root, "one@1", NULL) < 0;
}

static void test_delete_killed(void **state)
{
    const char *root = *state;
    struct snapshot *snapshot = NULL;
    struct snapshot_list list = SNAPSHOT_LIST_INIT;

    fixture_snapshot(root, "one", NULL);
    assert_true(WIFSIGNALED(fixture_child(delete_one, root, "image-delete:kill")));
    assert_int_equal(snapshot_open(root, "one", &snapshot, NULL), -ENOENT);
    assert_int_equal(store_list(root, NULL, &list, NULL), 0);
    assert_int_equal(list.count, 0);
    assert_int_equal(fixture_count("%s/one/versions", root), 1);
    fixture_snapshot(root, "one", NULL); /* the next writer cleans up */
    assert_int_equal(fixture_count("%s/one/versions", root), 1);
}

static int abandon_one(const char *root)
{
    struct snapshot_writer *writer = NULL;

    if (snapshot_writer_begin(root, "one", NULL, &writer, NULL) < 0)
        return 1;
    fixture_populate(snapshot_writer_directory(writer));
    _exit(0); /* without cleaning up */
}

static struct gc_result collect(const char *root, const struct gc_options *options)
{
    struct gc_result result = GC_RESULT_INIT;
    struct error error = ERROR_INIT;

    if (store_gc(root, options, &result, &error) < 0)
        fail_msg("%s", error.message);
    return result;
}

static void test_gc_leftovers(void **state)
{
    const char *root = *state;
    struct gc_options options = {.dry_run = true};
    CLEANUP(free_snapshot_writer) struct snapshot_writer *living = NULL;
    struct gc_result result;

    fixture_snapshot(root, "one", NULL);
    assert_int_equal(fixture_child(delete_one, root, "image-delete:kill"), 9);
    assert_int_equal(snapshot_writer_begin(root, "one", NULL, &living, NULL), 0);
    assert_int_equal(fixture_child(abandon_one, root, ""), 0);
    fixture_snapshot(root, "two", NULL);
    assert_int_equal(fixture_count("%s/one/versions", root), 2); /* living, abandoned */
    assert_int_equal(fixture_child(abandon_one, root, ""), 0);
    result = collect(root, &options);
    assert_int_equal(result.count, 1);
    assert_int_equal(result.items[0].kind, GC_STAGING);
    assert_string_equal(gc_kind_name(result.items[0].kind), "staging");
    assert_string_equal(result.items[0].id, "one");
    assert_true(result.bytes >= 300001);
    assert_true(fixture_exists("%s", result.items[0].path));
    gc_result_done(&result);
    options.dry_run = false;
    result = collect(root, &options);
    assert_int_equal(result.count, 1);
    assert_null(result.items[0].problem);
    assert_false(fixture_exists("%s", result.items[0].path));
    gc_result_done(&result);
    assert_int_equal(fixture_count("%s/one/versions", root), 1); /* living */
    assert_true(fixture_exists("%s/two/versions/1", root));
}

static void test_gc_trash(void **state)
{
    const char *root = *state;
    struct gc_options options = {0};
    struct gc_result result;

    fixture_snapshot(root, "one", NULL);
    assert_int_equal(fixture_child(delete_one, root, "image-delete:kill"), 9);
    result = collect(root, &options);
    assert_int_equal(result.count, 1);
    assert_int_equal(result.items[0].kind, GC_TRASH);
    assert_string_equal(result.items[0].version, "1");
    gc_result_done(&result);
    assert_int_equal(fixture_count("%s", root), 0);
}

/* Two ids: four versions with a damaged one among them, and a single one. */
static void make_history(const char *root)
{
    fixture_snapshot(root, "one", "2020-01-01T00:00:00Z");
    fixture_snapshot(root, "one", "2020-01-02T00:00:00Z");
    fixture_snapshot(root, "one", NULL);
    fixture_snapshot(root, "one", NULL);
    fixture_snapshot(root, "two", "2020-01-01T00:00:00Z");
    put("", "%s/one/versions/3/manifest.json", root);
}

/* The versions that would go, e.g. "one@1 two@1 ". */
static char *chosen(const char *root, const struct gc_options *options)
{
    struct gc_result result = collect(root, options);
    struct buffer text = BUFFER_INIT(1000);

    assert_int_equal(buffer_append(&text, "", 0), 0);
    for (size_t i = 0; i < result.count; i++) {
        assert_int_equal(result.items[i].kind, GC_SNAPSHOT);
        assert_null(result.items[i].problem);
        assert_int_equal(
            buffer_printf(&text, "%s@%s ", result.items[i].id, result.items[i].version), 0);
    }
    gc_result_done(&result);
    return text.data;
}

static void choose(const char *root, struct gc_options options, const char *expected)
{
    CLEANUP(free_ptr) char *text = NULL;

    options.dry_run = true;
    text = chosen(root, &options);
    assert_string_equal(text, expected);
}

static void test_gc_retention(void **state)
{
    const char *root = *state;

    make_history(root);
    choose(root, (struct gc_options){0}, "");
    choose(root, (struct gc_options){.by_count = true, .keep = 1}, "one@2 one@1 ");
    choose(root, (struct gc_options){.by_count = true, .keep = 2}, "one@1 ");
    choose(root, (struct gc_options){.by_count = true, .keep = 9}, "");
    choose(root, (struct gc_options){.by_count = true, .keep = 0}, "one@4 one@2 one@1 two@1 ");
    choose(root, (struct gc_options){.by_age = true, .older_than = 86400}, "one@2 one@1 two@1 ");
    choose(root, (struct gc_options){.by_age = true, .older_than = UINT64_MAX}, "");
    choose(root,
           (struct gc_options){.by_count = true, .keep = 1, .by_age = true, .older_than = 86400},
           "one@2 one@1 ");
    choose(root, (struct gc_options){.by_count = true, .keep = 0, .id = "two"}, "two@1 ");
    assert_int_equal(fixture_count("%s/one/versions", root), 4); /* nothing was done */
}

static void test_gc_removes(void **state)
{
    const char *root = *state;
    struct gc_options options = {.by_count = true, .keep = 1};
    CLEANUP(free_ptr) char *text = NULL;

    make_history(root);
    text = chosen(root, &options);
    assert_string_equal(text, "one@2 one@1 ");
    assert_int_equal(fixture_count("%s/one/versions", root), 2); /* 4, and the damaged 3 */
    assert_true(fixture_exists("%s/two/versions/1", root));
}

static void test_gc_busy(void **state)
{
    const char *root = *state;
    struct gc_options options = {.by_count = true, .keep = 0};
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    struct gc_result result;

    fixture_snapshot(root, "one", NULL);
    fixture_snapshot(root, "one", NULL);
    assert_int_equal(snapshot_open(root, "one@2", &snapshot, NULL), 0);
    result = collect(root, &options);
    assert_int_equal(result.count, 2);
    assert_non_null(result.items[0].problem);
    assert_null(result.items[1].problem);
    assert_int_equal(result.bytes, result.items[1].bytes);
    assert_int_equal(fixture_count("%s/one/versions", root), 1);
    gc_result_done(&result);
}

static void test_gc_nothing(void **state)
{
    CLEANUP(free_ptr) char *root = text_format("%s/nowhere", (const char *)*state);
    struct gc_options options = {0};
    struct gc_result result;

    result = collect(root, &options);
    assert_int_equal(result.count, 0);
    options.id = "../x";
    assert_int_equal(store_gc(root, &options, &result, NULL), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_list_nothing),   TEST(test_list_root_that_is_a_file),
        TEST(test_list),           TEST(test_list_one),
        TEST(test_delete),         TEST(test_delete_takes_the_word_along),
        TEST(test_delete),         TEST(test_delete_keeps_what_is_not_ours),
        TEST(test_delete_damaged), TEST(test_delete_never_follows_links),
        TEST(test_delete_busy),    TEST(test_delete_killed),
        TEST(test_gc_leftovers),   TEST(test_gc_trash),
        TEST(test_gc_retention),   TEST(test_gc_removes),
        TEST(test_gc_busy),        TEST(test_gc_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
