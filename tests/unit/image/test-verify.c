/* SPDX-License-Identifier: Apache-2.0 */
/* Opening snapshots that are not as they were written, and finding what differs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fixture.h"
#include "image/manifest.h"
#include "image/verify.h"

/* A root with the snapshot one@1, and its directory. */
struct scene {
    char *root;
    int directory;
};

static int set_up(void **state)
{
    struct scene *scene = allocate(sizeof *scene);
    CLEANUP(free_ptr) char *path = NULL;

    scene->root = fixture_root();
    fixture_snapshot(scene->root, "one", NULL);
    path = text_format("%s/one/versions/1", scene->root);
    scene->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = scene;
    return scene->directory < 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    close_fd(&scene->directory);
    fixture_root_remove(scene->root);
    free(scene);
    return 0;
}

static void refuse_open(struct scene *scene, const char *reference, const char *code)
{
    struct snapshot *snapshot = NULL;
    struct error error = ERROR_INIT;

    assert_true(snapshot_open(scene->root, reference, &snapshot, &error) < 0);
    assert_null(snapshot);
    if (!error_is(&error, code))
        fail_msg("%s instead of %s: %s", error.code, code, error.message);
    error_done(&error);
}

static struct verify_report verify(struct scene *scene, enum verify_scope scope, unsigned threads)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    struct verify_report report = VERIFY_REPORT_INIT;
    struct error error = ERROR_INIT;

    if (snapshot_open(scene->root, "one", &snapshot, &error) < 0 ||
        snapshot_verify(snapshot, scope, threads, &report, NULL, &error) < 0)
        fail_msg("%s", error.message);
    return report;
}

/* Expects exactly this finding. */
static void expect(struct scene *scene, enum verify_scope scope, enum verify_kind kind,
                   const char *path)
{
    struct verify_report report = verify(scene, scope, 1);
    struct error error = ERROR_INIT;

    assert_int_equal(report.count, 1);
    assert_string_equal(report.findings[0].path, path);
    assert_string_equal(verify_kind_name(report.findings[0].kind), verify_kind_name(kind));
    assert_true(verify_report_check(&report, &error) < 0);
    assert_true(error_is(&error, "snapshot-damaged"));
    assert_non_null(strstr(error.message, path));
    error_done(&error);
    verify_report_done(&report);
}

static void expect_nothing(struct scene *scene, enum verify_scope scope)
{
    struct verify_report report = verify(scene, scope, 1);

    if (report.count)
        fail_msg("%s %s", report.findings[0].path, report.findings[0].text);
    assert_int_equal(verify_report_check(&report, NULL), 0);
    verify_report_done(&report);
}

static void flip(int directory, const char *path, off_t offset)
{
    CLEANUP(close_fd) int fd = openat(directory, path, O_RDWR | O_CLOEXEC);
    unsigned char byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}

static void test_sound(void **state)
{
    struct verify_report report = verify(*state, VERIFY_ALL, 1);

    assert_int_equal(report.count, 0);
    assert_int_equal(report.files, 6);
    assert_int_equal(report.bytes, 1234 + 300001 + 1 + 65536 + 12);
    expect_nothing(*state, VERIFY_METADATA);
    expect_nothing(*state, VERIFY_BULK);
}

static void test_not_there(void **state)
{
    struct scene *scene = *state;
    CLEANUP(free_ptr) char *other = text_format("%s/other/versions", scene->root);
    CLEANUP(free_ptr) char *root = NULL;

    refuse_open(scene, "two", "snapshot-missing");
    refuse_open(scene, "one@2", "snapshot-missing");
    refuse_open(scene, "../one", "snapshot-id");
    refuse_open(scene, "one@latest", "snapshot-id");
    assert_int_equal(directory_create_all(other, 0700), 0);
    refuse_open(scene, "other", "snapshot-missing");
    root = text_format("%s/nowhere", scene->root);
    assert_true(snapshot_open(root, "one", &(struct snapshot *){NULL}, NULL) == -ENOENT);
}

static void test_latest_is_not_replaced_by_older(void **state)
{
    struct scene *scene = *state;
    CLEANUP(free_ptr) char *second = text_format("%s/one/versions/2", scene->root);

    assert_int_equal(mkdir(second, 0700), 0);
    refuse_open(scene, "one", "snapshot-damaged");
    assert_int_equal(rmdir(second), 0);
    assert_int_equal(symlink("1", second), 0);
    refuse_open(scene, "one", "snapshot-damaged");
}

static void test_damaged_manifest(void **state)
{
    struct scene *scene = *state;

    flip(scene->directory, "manifest.json", 20);
    refuse_open(scene, "one", "snapshot-damaged");
    flip(scene->directory, "manifest.json", 20);
    flip(scene->directory, "manifest.sum", 3);
    refuse_open(scene, "one", "snapshot-damaged");
    flip(scene->directory, "manifest.sum", 3);
    expect_nothing(scene, VERIFY_ALL);
    assert_int_equal(unlinkat(scene->directory, "manifest.sum", 0), 0);
    refuse_open(scene, "one", "snapshot-damaged");
    assert_int_equal(symlinkat("/etc/passwd", scene->directory, "manifest.sum"), 0);
    refuse_open(scene, "one", "snapshot-damaged");
}

static void test_manifest_that_is_no_file(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(unlinkat(scene->directory, "manifest.json", 0), 0);
    refuse_open(scene, "one", "snapshot-damaged");
    assert_int_equal(mkfifoat(scene->directory, "manifest.json", 0600), 0); /* must not wait */
    refuse_open(scene, "one", "snapshot-damaged");
    assert_int_equal(unlinkat(scene->directory, "manifest.json", 0), 0);
    assert_int_equal(mkdirat(scene->directory, "manifest.json", 0700), 0);
    refuse_open(scene, "one", "snapshot-damaged");
}

static void replace_manifest(struct scene *scene, const char *text)
{
    CLEANUP(free_ptr) char *sum = manifest_sum(text, strlen(text));

    fixture_text(scene->directory, "manifest.json", text);
    fixture_text(scene->directory, "manifest.sum", sum);
}

static void test_unknown_format(void **state)
{
    replace_manifest(*state, "{\"format\": 2, \"everything\": \"else\"}");
    refuse_open(*state, "one", "snapshot-version");
    replace_manifest(*state, "{\"format\": 1, \"everything\": \"else\"}");
    refuse_open(*state, "one", "snapshot-manifest");
    replace_manifest(*state, "");
    refuse_open(*state, "one", "snapshot-manifest");
}

static void test_moved(void **state)
{
    struct scene *scene = *state;
    CLEANUP(free_ptr) char *from = text_format("%s/one", scene->root);
    CLEANUP(free_ptr) char *to = text_format("%s/two", scene->root);
    CLEANUP(free_ptr) char *path = text_format("%s/two/versions/1", scene->root);
    struct snapshot *snapshot = NULL;

    assert_int_equal(rename(from, to), 0);
    assert_int_equal(snapshot_open(scene->root, "two", &snapshot, NULL), 0);
    assert_string_equal(snapshot_id(snapshot), "two");
    snapshot_free(snapshot);
    snapshot_free(NULL);
    assert_int_equal(snapshot_open_path(path, &snapshot, NULL), 0);
    assert_string_equal(snapshot_id(snapshot), "one");
    assert_string_equal(snapshot_version(snapshot), "1");
    snapshot_free(snapshot);
}

static void test_open_file(void **state)
{
    struct scene *scene = *state;
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    CLEANUP(close_fd) int fd = -1;

    assert_int_equal(snapshot_open(scene->root, "one", &snapshot, NULL), 0);
    fd = snapshot_open_file(snapshot, "criu/core-1.img");
    assert_true(fd >= 0);
    assert_int_equal(snapshot_open_file(snapshot, "manifest.json"), -ENOENT);
    assert_int_equal(snapshot_open_file(snapshot, "criu"), -ENOENT);
    assert_int_equal(unlinkat(scene->directory, "criu/core-1.img", 0), 0);
    assert_int_equal(symlinkat("/etc/passwd", scene->directory, "criu/core-1.img"), 0);
    assert_true(snapshot_open_file(snapshot, "criu/core-1.img") < 0);
}

static void test_damaged(void **state)
{
    struct scene *scene = *state;

    flip(scene->directory, "criu/core-1.img", 1233);
    expect(scene, VERIFY_ALL, VERIFY_DAMAGED, "criu/core-1.img");
    expect(scene, VERIFY_METADATA, VERIFY_DAMAGED, "criu/core-1.img");
    expect_nothing(scene, VERIFY_BULK);
}

static void test_damaged_bulk(void **state)
{
    struct scene *scene = *state;

    flip(scene->directory, "criu/pages-1.img", 300000);
    expect(scene, VERIFY_ALL, VERIFY_DAMAGED, "criu/pages-1.img");
    expect(scene, VERIFY_BULK, VERIFY_DAMAGED, "criu/pages-1.img");
    expect_nothing(scene, VERIFY_METADATA);
}

static void test_missing(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(unlinkat(scene->directory, "criu/pages-1.img", 0), 0);
    expect(scene, VERIFY_ALL, VERIFY_MISSING, "criu/pages-1.img");
    expect(scene, VERIFY_METADATA, VERIFY_MISSING, "criu/pages-1.img");
}

static void test_missing_directory(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(unlinkat(scene->directory, "empty", AT_REMOVEDIR), 0);
    expect(scene, VERIFY_ALL, VERIFY_MISSING, "empty");
}

static void test_wrong_size(void **state)
{
    struct scene *scene = *state;
    CLEANUP(close_fd) int fd = openat(scene->directory, "criu/pages-1.img", O_RDWR | O_CLOEXEC);

    assert_int_equal(ftruncate(fd, 300000), 0);
    expect(scene, VERIFY_ALL, VERIFY_WRONG_SIZE, "criu/pages-1.img");
    expect(scene, VERIFY_METADATA, VERIFY_WRONG_SIZE, "criu/pages-1.img");
    assert_int_equal(ftruncate(fd, 300002), 0);
    expect(scene, VERIFY_ALL, VERIFY_WRONG_SIZE, "criu/pages-1.img");
}

static void test_foreign(void **state)
{
    struct scene *scene = *state;

    fixture_text(scene->directory, "criu/extra", "");
    expect(scene, VERIFY_ALL, VERIFY_FOREIGN, "criu/extra");
    expect(scene, VERIFY_METADATA, VERIFY_FOREIGN, "criu/extra");
    assert_int_equal(unlinkat(scene->directory, "criu/extra", 0), 0);
    fixture_text(scene->directory, ".hidden", "");
    expect(scene, VERIFY_ALL, VERIFY_FOREIGN, ".hidden");
    assert_int_equal(unlinkat(scene->directory, ".hidden", 0), 0);
    fixture_directory(scene->directory, "criu/folder");
    expect(scene, VERIFY_ALL, VERIFY_FOREIGN, "criu/folder");
    assert_int_equal(unlinkat(scene->directory, "criu/folder", AT_REMOVEDIR), 0);
    assert_int_equal(symlinkat("core-1.img", scene->directory, "criu/link"), 0);
    expect(scene, VERIFY_ALL, VERIFY_FOREIGN, "criu/link");
    assert_int_equal(unlinkat(scene->directory, "criu/link", 0), 0);
    fixture_text(scene->directory, "\xff", "a name that is not UTF-8");
    expect(scene, VERIFY_ALL, VERIFY_FOREIGN, "\xff");
}

static void test_replaced(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(renameat(scene->directory, "shm.tar", scene->directory, "../moved"), 0);
    assert_int_equal(symlinkat("../moved", scene->directory, "shm.tar"), 0);
    expect(scene, VERIFY_ALL, VERIFY_FOREIGN, "shm.tar");
    assert_int_equal(unlinkat(scene->directory, "shm.tar", 0), 0);
    assert_int_equal(mkfifoat(scene->directory, "shm.tar", 0600), 0);
    expect(scene, VERIFY_ALL, VERIFY_FOREIGN, "shm.tar");
    assert_int_equal(unlinkat(scene->directory, "shm.tar", 0), 0);
    assert_int_equal(mkdirat(scene->directory, "shm.tar", 0700), 0);
    expect(scene, VERIFY_ALL, VERIFY_FOREIGN, "shm.tar");
}

static void test_directory_replaced_by_link(void **state)
{
    struct scene *scene = *state;
    struct verify_report report;

    assert_int_equal(renameat(scene->directory, "criu", scene->directory, "../criu"), 0);
    assert_int_equal(symlinkat("../criu", scene->directory, "criu"), 0);
    report = verify(scene, VERIFY_ALL, 1);
    assert_true(report.count >= 5); /* the link, and what is no longer beneath */
    assert_string_equal(report.findings[0].path, "criu");
    assert_int_equal(report.findings[0].kind, VERIFY_FOREIGN);
    verify_report_done(&report);
}

static void test_many_findings(void **state)
{
    struct scene *scene = *state;
    struct verify_report report;
    struct error error = ERROR_INIT;

    flip(scene->directory, "shm.tar", 0);
    flip(scene->directory, "root-process", 0);
    assert_int_equal(unlinkat(scene->directory, "criu/nothing", 0), 0);
    fixture_text(scene->directory, "zzz", "");
    report = verify(scene, VERIFY_ALL, 2);
    assert_int_equal(report.count, 4);
    assert_string_equal(report.findings[0].path, "criu/nothing");
    assert_string_equal(report.findings[1].path, "root-process");
    assert_string_equal(report.findings[2].path, "shm.tar");
    assert_string_equal(report.findings[3].path, "zzz");
    assert_true(verify_report_check(&report, &error) < 0);
    assert_non_null(strstr(error.message, "and 3 more"));
    error_done(&error);
    verify_report_done(&report);
    verify_report_done(&report);
}

/* As somebody who may not read one of the files. */
static int verify_as_nobody(const char *root)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    CLEANUP(verify_report_done) struct verify_report report = VERIFY_REPORT_INIT;

    if (snapshot_open(root, "one", &snapshot, NULL) < 0)
        return 1;
    if (fchownat(snapshot_directory(snapshot), "shm.tar", 0, 0, 0) == 0 &&
        (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
        return 2;
    if (snapshot_verify(snapshot, VERIFY_ALL, 1, &report, NULL, NULL) < 0 || report.count != 1)
        return 3;
    return report.findings[0].kind != VERIFY_UNREADABLE ||
           !text_equal(report.findings[0].path, "shm.tar");
}

static void test_unreadable(void **state)
{
    static const char *const files[] = {"criu/core-1.img", "criu/pages-1.img", "criu/deep/file",
                                        "criu/nothing",    "root-process",     "manifest.json",
                                        "manifest.sum"};
    static const char *const directories[] = {".", "criu", "criu/deep", "empty"};
    struct scene *scene = *state;

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        assert_int_equal(fchmodat(scene->directory, files[i], 0644, 0), 0);
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++)
        assert_int_equal(fchmodat(scene->directory, directories[i], 0755, 0), 0);
    assert_int_equal(fchmodat(scene->directory, "shm.tar", 0, 0), 0);
    assert_int_equal(fixture_child(verify_as_nobody, scene->root, ""), 0);
}

static void test_beside_other_work(void **state)
{
    struct scene *scene = *state;
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    struct verification *verification = NULL;
    struct verify_report report = VERIFY_REPORT_INIT;
    struct pollfd item = {.events = POLLIN};

    assert_int_equal(snapshot_open(scene->root, "one", &snapshot, NULL), 0);
    for (int damaged = 0; damaged < 2; damaged++) {
        assert_int_equal(snapshot_verify_start(snapshot, VERIFY_BULK, 2, &verification, NULL), 0);
        item.fd = snapshot_verify_fd(verification);
        assert_int_equal(poll(&item, 1, 60000), 1);
        assert_int_equal(snapshot_verify_finish(verification, &report, NULL), 0);
        assert_int_equal(report.count, damaged);
        assert_int_equal(report.files, 1);
        assert_int_equal(report.bytes, 300001);
        verify_report_done(&report);
        snapshot_verify_free(verification);
        flip(scene->directory, "criu/pages-1.img", 7);
    }
    assert_int_equal(snapshot_verify_start(snapshot, VERIFY_ALL, 2, &verification, NULL), 0);
    snapshot_verify_free(verification); /* given up */
    snapshot_verify_free(NULL);
}

/* Big files are bulk whatever their name; several threads, in a child. */
static void test_big_file(void **state)
{
    struct scene *scene = *state;
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = NULL;
    json_t *manifest = json_object();

    assert_int_equal(snapshot_writer_begin(scene->root, "one", NULL, &writer, NULL), 0);
    fixture_file(snapshot_writer_directory(writer), "big", 100 * 1000 * 1000, 1);
    fixture_file(snapshot_writer_directory(writer), "small", 16 * 1024 * 1024, 2);
    assert_int_equal(snapshot_writer_publish(writer, manifest, NULL), 0);
    json_decref(manifest);
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        struct verify_report report = verify(scene, VERIFY_ALL, threads);

        assert_int_equal(report.count, 0);
        assert_int_equal(report.bytes, 100 * 1000 * 1000 + 16 * 1024 * 1024);
        verify_report_done(&report);
    }
    flip(snapshot_writer_directory(writer), "big", 99 * 1000 * 1000);
    expect(scene, VERIFY_ALL, VERIFY_DAMAGED, "big");
    expect(scene, VERIFY_BULK, VERIFY_DAMAGED, "big");
    expect_nothing(scene, VERIFY_METADATA);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sound),
        TEST(test_not_there),
        TEST(test_latest_is_not_replaced_by_older),
        TEST(test_damaged_manifest),
        TEST(test_manifest_that_is_no_file),
        TEST(test_unknown_format),
        TEST(test_moved),
        TEST(test_open_file),
        TEST(test_damaged),
        TEST(test_damaged_bulk),
        TEST(test_missing),
        TEST(test_missing_directory),
        TEST(test_wrong_size),
        TEST(test_foreign),
        TEST(test_replaced),
        TEST(test_directory_replaced_by_link),
        TEST(test_many_findings),
        TEST(test_unreadable),
        TEST(test_beside_other_work),
        TEST(test_big_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
