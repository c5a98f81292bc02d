/* SPDX-License-Identifier: Apache-2.0 */
/* A tmpfs of a container, saved and put into another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fixture.h"

struct pair {
    char *from, *to;
    int from_fd, to_fd, archive;
};

static int set_up(void **state)
{
    struct pair *pair = allocate(sizeof *pair);

    pair->from = fixture_directory(32);
    pair->to = fixture_directory(32);
    pair->from_fd = open(pair->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pair->to_fd = open(pair->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pair->archive = fixture_archive();
    MUST(pair->from_fd >= 0 && pair->to_fd >= 0);
    *state = pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;

    close_fd(&pair->from_fd);
    close_fd(&pair->to_fd);
    close_fd(&pair->archive);
    fixture_directory_remove(pair->from);
    fixture_directory_remove(pair->to);
    free(pair);
    return 0;
}

static void save(const struct pair *pair, const char *const *exclusions, struct rootfs_summary *ret)
{
    struct tree_source source = {.directory = pair->from_fd, .exclusions = exclusions};
    struct error error = ERROR_INIT;

    if (tree_save(&source, pair->archive, ret, &error) < 0)
        fail_msg("%s: %s", error.code, error.message);
}

static void apply(const struct pair *pair)
{
    struct rootfs_apply_options options = {.devices = true};
    struct error error = ERROR_INIT;

    if (tree_apply(pair->archive, pair->to_fd, &options, NULL, &error) < 0)
        fail_msg("%s: %s", error.code, error.message);
}

static void test_replaces(void **state)
{
    const struct pair *pair = *state;
    CLEANUP(free_ptr) char *wanted = NULL;
    struct rootfs_summary sum;

    fixture_image(pair->from);
    MUST(fchmod(pair->from_fd, 01777) == 0 && fchown(pair->from_fd, 5, 6) == 0);
    put_attribute(pair->from_fd, ".", "trusted.of-root", "x", 1);
    put_time(pair->from_fd, ".", 12, 34);
    put_directory(pair->from_fd, "dev", 0755);
    put_file(pair->from_fd, "dev/x", "nothing is special here", 0644);
    wanted = fixture_describe(pair->from);
    put_file(pair->to_fd, "foreign", "", 0644);
    put_directory(pair->to_fd, "etc", 0755);
    put_file(pair->to_fd, "etc/foreign", "", 0644);
    put_directory(pair->to_fd, "etc/passwd", 0755);
    put_attribute(pair->to_fd, ".", "trusted.other", "x", 1);
    save(pair, NULL, &sum);
    assert_int_equal(sum.hard_links, 2);
    for (int i = 0; i < 2; i++) {
        CLEANUP(free_ptr) char *found = NULL;

        apply(pair);
        found = fixture_describe(pair->to);
        fixture_same("tree", wanted, found);
    }
}

static void test_mounts(void **state)
{
    static const char *const exclusions[] = {"/left-out", NULL};
    const struct pair *pair = *state;
    CLEANUP(free_ptr) char *from_point = text_format("%s/secrets", pair->from);
    CLEANUP(free_ptr) char *to_point = text_format("%s/secrets", pair->to);
    CLEANUP(free_ptr) char *to_other = text_format("%s/a/hook", pair->to);
    CLEANUP(free_ptr) char *volume = fixture_directory(1);
    struct rootfs_summary sum;

    put_directory(pair->from_fd, "secrets", 0755);
    put_directory(pair->from_fd, "left-out", 0755);
    put_directory(pair->to_fd, "secrets", 0755);
    put_directory(pair->to_fd, "a", 0755);
    put_directory(pair->to_fd, "a/hook", 0755);
    put_file(pair->to_fd, "a/file", "", 0755);
    MUST(mount(volume, from_point, NULL, MS_BIND, NULL) == 0);
    MUST(mount(volume, to_point, NULL, MS_BIND, NULL) == 0);
    MUST(mount(volume, to_other, NULL, MS_BIND, NULL) == 0);
    put_file(pair->to_fd, "secrets/secret", "x", 0600);
    save(pair, exclusions, &sum);
    assert_int_equal(sum.mount_points, 1);
    assert_int_equal(sum.files + sum.directories, 0);
    apply(pair);
    assert_int_equal(faccessat(pair->to_fd, "secrets/secret", F_OK, 0), 0);
    assert_int_equal(faccessat(pair->to_fd, "a/file", F_OK, 0), -1);
    MUST(umount(to_other) == 0 && umount(to_point) == 0 && umount(from_point) == 0);
    assert_int_equal(faccessat(pair->to_fd, "left-out", F_OK, 0), -1);
    fixture_directory_remove(STEAL_PTR(volume));
}

static void test_empty(void **state)
{
    const struct pair *pair = *state;
    struct rootfs_apply_options options = {0};
    struct error error = ERROR_INIT;
    CLEANUP(free_ptr) char *wanted = fixture_describe(pair->from);
    CLEANUP(free_ptr) char *found = NULL;

    fixture_image(pair->to);
    save(pair, NULL, NULL);
    apply(pair);
    found = fixture_describe(pair->to);
    fixture_same("empty", wanted, found);
    assert_true(rootfs_apply(pair->archive, pair->to_fd, &options, NULL, &error) < 0);
    assert_true(error_is(&error, "rootfs-archive"));
    error_done(&error);
    assert_int_equal(rootfs_archive_check(pair->archive, &options, NULL, NULL), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_replaces), TEST(test_mounts), TEST(test_empty)};

    if (!fixture_isolate())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
