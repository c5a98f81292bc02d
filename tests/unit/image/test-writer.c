/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a snapshot: complete or absent, whatever happens on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fixture.h"
#include "image/manifest.h"
#include "image/scratch.h"
#include "image/snapshot.h"
#include "image/verify.h"

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

static void check_sound(const char *root, const char *reference)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    CLEANUP(verify_report_done) struct verify_report report = VERIFY_REPORT_INIT;
    struct error error = ERROR_INIT;

    if (snapshot_open(root, reference, &snapshot, &error) < 0 ||
        snapshot_verify(snapshot, VERIFY_ALL, 1, &report, NULL, &error) < 0 ||
        verify_report_check(&report, &error) < 0)
        fail_msg("%s", error.message);
}

static struct snapshot_writer *begin(const char *root, const char *id)
{
    struct snapshot_writer *writer = NULL;
    struct error error = ERROR_INIT;

    if (snapshot_writer_begin(root, id, NULL, &writer, &error) < 0)
        fail_msg("%s", error.message);
    return writer;
}

static int publish(struct snapshot_writer *writer, struct error *error)
{
    json_t *manifest = json_pack("{s:s}", "command", "sleep");
    int r = snapshot_writer_publish(writer, manifest, error);

    json_decref(manifest);
    return r;
}

static void test_publish(void **state)
{
    const char *root = *state;
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    const json_t *manifest;

    fixture_snapshot(root, "one", NULL);
    assert_int_equal(fixture_count("%s/one/versions", root), 1);
    assert_int_equal(snapshot_open(root, "one", &snapshot, NULL), 0);
    assert_string_equal(snapshot_id(snapshot), "one");
    assert_string_equal(snapshot_version(snapshot), "1");
    assert_int_equal(snapshot_bytes(snapshot), 1234 + 300001 + 1 + 65536 + 12);
    assert_true(text_ends_with(snapshot_path(snapshot), "/one/versions/1"));
    manifest = snapshot_manifest(snapshot);
    assert_string_equal(json_string_value(json_object_get(manifest, "command")), "sleep");
    assert_int_equal(json_integer_value(json_object_get(manifest, "format")), 1);
    assert_int_equal(json_array_size(json_object_get(manifest, "files")), 6);
    assert_int_equal(json_array_size(json_object_get(manifest, "directories")), 3);
    assert_int_equal(strlen(snapshot_created(snapshot)), 20);
    check_sound(root, "one@1");
}

static void test_manifest_is_borrowed(void **state)
{
    json_t *manifest = json_pack("{s:s, s:s, s:i, s:[], s:{s:s}}", "id", "other", "created",
                                 "2020-01-02T03:04:05Z", "bytes", 7, "files", "image", "name", "x");
    json_t *before = json_deep_copy(manifest);
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(*state, "one");
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;

    fixture_populate(snapshot_writer_directory(writer));
    assert_int_equal(snapshot_writer_publish(writer, manifest, NULL), 0);
    assert_true(json_equal(manifest, before));
    assert_int_equal(snapshot_open(*state, "one", &snapshot, NULL), 0);
    assert_string_equal(snapshot_created(snapshot), "2020-01-02T03:04:05Z");
    assert_string_equal(snapshot_contents(snapshot)->id, "one");
    assert_int_equal(snapshot_contents(snapshot)->file_count, 6);
    json_decref(manifest);
    json_decref(before);
}

static void test_manifest_that_nobody_could_read(void **state)
{
    json_t *manifest = json_pack("{s:s}", "created", "yesterday");
    json_t *list = json_array();
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(*state, "one");
    struct error error = ERROR_INIT;

    assert_true(snapshot_writer_publish(writer, manifest, &error) < 0);
    assert_true(error_is(&error, "snapshot-manifest"));
    assert_true(snapshot_writer_publish(writer, list, &error) < 0);
    assert_true(snapshot_writer_publish(writer, NULL, &error) < 0);
    assert_int_equal(publish(writer, NULL), 0); /* a failed attempt may be repeated */
    check_sound(*state, "one");
    error_done(&error);
    json_decref(manifest);
    json_decref(list);
}

static void test_versions_count_up(void **state)
{
    const char *root = *state;
    struct snapshot *snapshot = NULL;

    for (int i = 0; i < 11; i++)
        fixture_snapshot(root, "many", NULL);
    assert_int_equal(fixture_count("%s/many/versions", root), 11);
    assert_int_equal(snapshot_open(root, "many", &snapshot, NULL), 0);
    assert_string_equal(snapshot_version(snapshot), "11"); /* not "9" */
    snapshot_free(snapshot);
    assert_int_equal(snapshot_open(root, "many@3", &snapshot, NULL), 0);
    assert_string_equal(snapshot_version(snapshot), "3");
    snapshot_free(snapshot);
}

static void test_two_writers(void **state)
{
    const char *root = *state;
    CLEANUP(free_snapshot_writer) struct snapshot_writer *first = begin(root, "one");
    CLEANUP(free_snapshot_writer) struct snapshot_writer *second = begin(root, "one");

    assert_string_equal(snapshot_writer_version(first), "1");
    assert_string_equal(snapshot_writer_version(second), "2");
    fixture_populate(snapshot_writer_directory(first));
    fixture_text(snapshot_writer_directory(second), "x", "y");
    assert_int_equal(publish(second, NULL), 0);
    assert_int_equal(publish(first, NULL), 0);
    check_sound(root, "one@1");
    check_sound(root, "one@2");
}

static void test_version_taken_by_force(void **state)
{
    const char *root = *state;
    CLEANUP(free_ptr) char *taken = text_format("%s/one/versions/1/x", root);
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(root, "one");
    struct error error = ERROR_INIT;

    assert_int_equal(directory_create_all(taken, 0700), 0);
    assert_true(publish(writer, &error) < 0);
    assert_true(error_is(&error, "snapshot-exists"));
    assert_true(fixture_exists("%s", taken));
    error_done(&error);
}

static void test_modes(void **state)
{
    const char *root = *state;
    CLEANUP(free_ptr) char *base = text_format("%s/one", root);
    static const char *const directories[] = {"", "/versions", "/versions/1", "/versions/1/criu"};
    static const char *const files[] = {"/versions/1/manifest.json", "/versions/1/manifest.sum",
                                        "/versions/1/shm.tar", "/versions/1/criu/deep/file"};
    mode_t before = umask(0);

    fixture_snapshot(root, "one", NULL);
    (void)umask(before);
    for (size_t i = 0; i < 8; i++) {
        CLEANUP(free_ptr)
        char *path = text_format("%s%s", base, i < 4 ? directories[i] : files[i - 4]);
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, i < 4 ? 0700 : 0600);
    }
}

static void test_bad_ids(void **state)
{
    struct snapshot_writer *writer = NULL;
    struct error error = ERROR_INIT;

    assert_true(snapshot_writer_begin(*state, "../x", NULL, &writer, &error) < 0);
    assert_true(error_is(&error, "snapshot-id"));
    assert_int_equal(fixture_count("%s", (const char *)*state), 0);
    error_done(&error);
}

static void test_chosen_version(void **state)
{
    const char *root = *state;
    struct snapshot_writer *writer = NULL;
    struct error error = ERROR_INIT;

    assert_true(snapshot_writer_begin(root, "one", "01", &writer, &error) < 0);
    assert_true(error_is(&error, "snapshot-id"));
    assert_int_equal(snapshot_writer_begin(root, "one", "7", &writer, NULL), 0);
    assert_string_equal(snapshot_writer_version(writer), "7");
    snapshot_writer_free(writer);
    fixture_snapshot(root, "one", NULL);
    assert_true(snapshot_writer_begin(root, "one", "1", &writer, &error) < 0);
    assert_true(error_is(&error, "snapshot-exists"));
    error_done(&error);
}

static void test_root_is_made(void **state)
{
    CLEANUP(free_ptr) char *root = text_format("%s/a/b", (const char *)*state);

    fixture_snapshot(root, "one", NULL);
    check_sound(root, "one");
}

static void test_root_that_cannot_be(void **state)
{
    CLEANUP(free_ptr) char *root = text_format("%s/file/b", (const char *)*state);
    CLEANUP(free_ptr) char *file = text_format("%s/file", (const char *)*state);
    struct snapshot_writer *writer = NULL;
    struct error error = ERROR_INIT;

    assert_int_equal(file_write_atomic(AT_FDCWD, file, "x", 1), 0);
    assert_true(snapshot_writer_begin(root, "one", NULL, &writer, &error) < 0);
    assert_true(error_is(&error, "snapshot-write"));
    error_done(&error);
}

static void test_id_that_is_a_link(void **state)
{
    const char *root = *state;
    CLEANUP(free_ptr) char *link = text_format("%s/one", root);
    struct snapshot_writer *writer = NULL;

    assert_int_equal(symlink("/tmp", link), 0);
    assert_true(snapshot_writer_begin(root, "one", NULL, &writer, NULL) < 0);
    assert_int_equal(unlink(link), 0);
}

static void test_given_up(void **state)
{
    const char *root = *state;
    struct snapshot_writer *writer = begin(root, "one");

    fixture_populate(snapshot_writer_directory(writer));
    assert_int_equal(snapshot_writer_seal(writer, 1, NULL, NULL), 0);
    snapshot_writer_free(writer);
    snapshot_writer_free(NULL);
    assert_int_equal(fixture_count("%s", root), 0);
}

static void test_given_up_beside_others(void **state)
{
    const char *root = *state;

    fixture_snapshot(root, "one", NULL);
    snapshot_writer_free(begin(root, "one"));
    check_sound(root, "one@1");
    assert_int_equal(fixture_count("%s/one/versions", root), 1);
}

static void count_update(void *context, uint64_t done, uint64_t total)
{
    uint64_t *last = context;

    assert_true(done >= last[0] && done <= total);
    last[0] = done;
    last[1] = total;
}

static void test_seal_is_incremental(void **state)
{
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(*state, "one");
    int directory = snapshot_writer_directory(writer);
    uint64_t seen[2] = {0, 0};
    struct progress progress = {.update = count_update, .context = seen};

    fixture_populate(directory);
    assert_int_equal(snapshot_writer_seal(writer, 1, &progress, NULL), 0);
    assert_int_equal(seen[1], snapshot_writer_bytes(writer));
    seen[0] = 0;
    seen[1] = 99;
    assert_int_equal(snapshot_writer_seal(writer, 1, &progress, NULL), 0);
    assert_int_equal(seen[1], 0); /* nothing to do */
    fixture_file(directory, "shm.tar", 1000, 77);
    fixture_file(directory, "late", 500, 78);
    assert_int_equal(unlinkat(directory, "root-process", 0), 0);
    assert_int_equal(snapshot_writer_seal(writer, 1, &progress, NULL), 0);
    assert_int_equal(seen[1], 1500);
    fixture_file(directory, "later", 5, 79); /* publish finds it itself */
    assert_int_equal(publish(writer, NULL), 0);
    check_sound(*state, "one");
}

static void test_seal_with_threads(void **state)
{
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(*state, "one");
    int directory = snapshot_writer_directory(writer);
    uint64_t seen[2] = {0, 0};
    struct progress progress = {.update = count_update, .context = seen};

    fixture_populate(directory);
    fixture_file(directory, "criu/pages-2.img", 140 * 1000 * 1000, 9);
    assert_int_equal(snapshot_writer_seal(writer, 3, &progress, NULL), 0);
    assert_int_equal(seen[0], snapshot_writer_bytes(writer));
    assert_int_equal(publish(writer, NULL), 0);
    check_sound(*state, "one");
}

static void refuse_content(struct snapshot_writer *writer)
{
    struct error error = ERROR_INIT;

    assert_true(snapshot_writer_seal(writer, 1, NULL, &error) < 0);
    assert_true(error_is(&error, "snapshot-content"));
    error_done(&error);
}

static void test_foreign_content(void **state)
{
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(*state, "one");
    int directory = snapshot_writer_directory(writer);

    assert_int_equal(symlinkat("/etc/passwd", directory, "link"), 0);
    refuse_content(writer);
    assert_int_equal(unlinkat(directory, "link", 0), 0);
    assert_int_equal(mkfifoat(directory, "pipe", 0600), 0);
    refuse_content(writer);
    assert_int_equal(unlinkat(directory, "pipe", 0), 0);
    fixture_text(directory, "\xff\xfe", "not UTF-8");
    refuse_content(writer);
    assert_int_equal(unlinkat(directory, "\xff\xfe", 0), 0);
    fixture_text(directory, "manifest.json", "{}");
    refuse_content(writer);
    assert_int_equal(unlinkat(directory, "manifest.json", 0), 0);
    assert_int_equal(snapshot_writer_seal(writer, 1, NULL, NULL), 0);
}

/* One life of a writer, as a child that a fault ends somewhere. */
static int write_one(const char *root)
{
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = NULL;
    int r = snapshot_writer_begin(root, "one", NULL, &writer, NULL);

    if (r < 0)
        return 1;
    fixture_populate(snapshot_writer_directory(writer));
    return publish(writer, NULL) < 0;
}

static const char *const writer_faults[] = {"image-begin",    "image-seal", "image-manifest",
                                            "image-sum",      "image-sync", "image-rename",
                                            "image-published"};

static void test_every_step_fails(void **state)
{
    const char *root = *state;

    fixture_snapshot(root, "one", NULL);
    for (size_t i = 0; i < sizeof writer_faults / sizeof writer_faults[0]; i++) {
        int status = fixture_child(write_one, root, writer_faults[i]);

        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
        assert_int_equal(fixture_count("%s/one/versions", root), 1);
        check_sound(root, "one@1");
    }
}

static void test_every_step_fails_first_time(void **state)
{
    const char *root = *state;

    for (size_t i = 0; i < sizeof writer_faults / sizeof writer_faults[0]; i++) {
        int status = fixture_child(write_one, root, writer_faults[i]);

        assert_int_equal(WEXITSTATUS(status), 1);
        assert_int_equal(fixture_count("%s", root), 0);
    }
}

/* Killed at each step: what is there is complete or is no snapshot, and the next writer cleans up.
 */
static void test_every_step_killed(void **state)
{
    const char *root = *state;
    struct snapshot *snapshot = NULL;

    for (size_t i = 0; i < sizeof writer_faults / sizeof writer_faults[0]; i++) {
        CLEANUP(free_ptr) char *fault = text_format("%s:kill", writer_faults[i]);
        bool last = text_equal(writer_faults[i], "image-published");
        int status = fixture_child(write_one, root, fault);

        assert_true(WIFSIGNALED(status));
        assert_int_equal(fixture_count("%s/one/versions", root), 1);
        if (last)
            check_sound(root, "one@1");
        else
            assert_int_equal(snapshot_open(root, "one", &snapshot, NULL), -ENOENT);
        snapshot_writer_free(begin(root, "one")); /* cleans up */
        assert_int_equal(fixture_count("%s", root), last ? 1 : 0);
    }
    fixture_snapshot(root, "one", NULL);
    check_sound(root, "one@2");
}

/* A leftover of a dead writer goes, the staging directory of a living one stays. */
static void test_living_writers_are_left_alone(void **state)
{
    const char *root = *state;
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(root, "one");

    assert_true(WIFSIGNALED(fixture_child(write_one, root, "image-sync:kill")));
    assert_int_equal(fixture_count("%s/one/versions", root), 2);
    fixture_snapshot(root, "one", NULL);
    assert_int_equal(fixture_count("%s/one/versions", root), 2);
    assert_true(fixture_exists("%s", snapshot_writer_path(writer)));
    fixture_populate(snapshot_writer_directory(writer));
    assert_int_equal(publish(writer, NULL), 0);
    check_sound(root, "one@1");
}

/* The lock decides: a name whose pid is somebody else's now, but whose lock is held. */
static void test_lock_is_proof_of_life(void **state)
{
    const char *root = *state;
    struct scratch_name name = scratch_name_new(SCRATCH_STAGING, 5);
    CLEANUP(free_ptr) char *text = NULL;
    CLEANUP(free_ptr) char *path = NULL;
    CLEANUP(close_fd) int fd = -1;

    name.start_time++; /* a process that is gone */
    text = scratch_name_format(&name);
    path = text_format("%s/one/versions/%s", root, text);
    assert_int_equal(directory_create_all(path, 0700), 0);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_SH), 0);
    fixture_snapshot(root, "one", NULL);
    assert_true(fixture_exists("%s", path));
    close_fd(&fd);
    fixture_snapshot(root, "one", NULL);
    assert_false(fixture_exists("%s", path));
}

/* Where there are no locks, the name decides. */
static void test_name_is_proof_of_life(void **state)
{
    const char *root = *state;
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(root, "one");

    assert_int_equal(flock(snapshot_writer_directory(writer), LOCK_UN), 0);
    fixture_snapshot(root, "one", NULL);
    assert_true(fixture_exists("%s", snapshot_writer_path(writer)));
}

/* Starts a writer as the first process of a pid namespace, tells that it has, and waits. */
static int write_elsewhere(const char *root, int tell, int wait)
{
    struct snapshot_writer *writer = NULL;
    char byte = 0;
    int r = snapshot_writer_begin(root, "one", NULL, &writer, NULL);

    if (r < 0 || write(tell, &byte, 1) != 1 || read(wait, &byte, 1) < 0)
        return 1;
    fixture_populate(snapshot_writer_directory(writer));
    r = publish(writer, NULL);
    snapshot_writer_free(writer);
    return r < 0;
}

static pid_t start_elsewhere(const char *root, const int told[2], const int release[2])
{
    int tell = told[1], wait = release[0];
    pid_t pid = fork();

    if (pid == 0) {
        (void)close(told[0]);
        (void)close(release[1]);
        if (unshare(CLONE_NEWPID) < 0)
            _exit(77);
        pid = fork();
        if (pid == 0)
            _exit(write_elsewhere(root, tell, wait));
        if (pid < 0 || waitpid(pid, &wait, 0) != pid)
            _exit(1);
        _exit(WIFEXITED(wait) ? WEXITSTATUS(wait) : 1);
    }
    return pid;
}

/* Another container on the same machine: its pids mean nothing here, its lock does. */
static void test_other_pid_namespace(void **state)
{
    const char *root = *state;
    int told[2], release[2], status = 0;
    char byte;
    pid_t pid;

    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    assert_int_equal(pipe2(release, O_CLOEXEC), 0);
    pid = start_elsewhere(root, told, release);
    (void)close(told[1]);
    (void)close(release[0]);
    if (read(told[0], &byte, 1) == 1) {
        fixture_snapshot(root, "one", NULL);
        assert_int_equal(fixture_count("%s/one/versions", root), 2);
    }
    (void)close(release[1]);
    (void)close(told[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WEXITSTATUS(status) == 77)
        skip(); /* needs the right to make a pid namespace */
    assert_int_equal(status, 0);
    check_sound(root, "one@1");
    check_sound(root, "one@2");
}

static void test_path_after_publish(void **state)
{
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = begin(*state, "one");

    assert_string_equal(snapshot_writer_id(writer), "one");
    assert_true(fixture_exists("%s", snapshot_writer_path(writer)));
    assert_int_equal(publish(writer, NULL), 0);
    assert_true(text_ends_with(snapshot_writer_path(writer), "/one/versions/1"));
    check_sound(*state, "one"); /* readable while its writer is there */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_publish),
        TEST(test_manifest_is_borrowed),
        TEST(test_manifest_that_nobody_could_read),
        TEST(test_versions_count_up),
        TEST(test_two_writers),
        TEST(test_version_taken_by_force),
        TEST(test_modes),
        TEST(test_bad_ids),
        TEST(test_chosen_version),
        TEST(test_root_is_made),
        TEST(test_root_that_cannot_be),
        TEST(test_id_that_is_a_link),
        TEST(test_given_up),
        TEST(test_given_up_beside_others),
        TEST(test_seal_is_incremental),
        TEST(test_seal_with_threads),
        TEST(test_foreign_content),
        TEST(test_every_step_fails),
        TEST(test_every_step_fails_first_time),
        TEST(test_every_step_killed),
        TEST(test_living_writers_are_left_alone),
        TEST(test_lock_is_proof_of_life),
        TEST(test_name_is_proof_of_life),
        TEST(test_other_pid_namespace),
        TEST(test_path_after_publish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
