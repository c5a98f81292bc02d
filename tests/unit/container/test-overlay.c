/* SPDX-License-Identifier: Apache-2.0 */
/* What "/" of a process is; and a process in a root of its own, saved from outside. */
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
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/overlay.h"
#include "fixture.h"

static int find(const char *line, struct overlay *ret, struct error *error)
{
    CLEANUP(mount_table_done) struct mount_table table = MOUNT_TABLE_INIT;

    MUST(mount_table_parse(text_copy(line), &table) == 0);
    return overlay_find(&table, ret, error);
}

static void test_options(void **state)
{
    struct overlay overlay = OVERLAY_INIT;

    (void)state;
    assert_int_equal(find("1 0 0:30 / / rw - overlay overlay rw,lowerdir=l/AA:l/BB,"
                          "upperdir=/var/lib/a\\134:b\\054c\\040d\\134\\134e/diff,workdir=/w,"
                          "redirect_dir=on,metacopy=on,index=on,userxattr,volatile\n",
                          &overlay, NULL),
                     0);
    assert_string_equal(overlay.upper, "/var/lib/a:b,c d\\e/diff");
    assert_string_equal(overlay.upper_plain, "/var/lib/a\\:b,c d\\\\e/diff");
    assert_true(overlay.redirects && overlay.metadata_only && overlay.indexed);
    assert_true(overlay.user_attributes && overlay.is_volatile);
    assert_int_equal(overlay.mount, 1);
    overlay_done(&overlay);
    assert_int_equal(find("1 0 0:30 / / rw - overlay o rw,upperdir=/u,redirect_dir=nofollow,"
                          "metacopy=off,index=off\n",
                          &overlay, NULL),
                     0);
    assert_false(overlay.redirects || overlay.metadata_only || overlay.indexed);
    assert_false(overlay.user_attributes || overlay.is_volatile);
    overlay_done(&overlay);
}

static void test_not_overlay(void **state)
{
    static const char *const lines[] = {
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n",
        "1 0 0:30 / / ro - overlay overlay ro,lowerdir=/a:/b\n",
        "1 0 0:30 /part / rw - overlay overlay rw,upperdir=/u\n",
        "1 0 0:30 / /other rw - overlay overlay rw,upperdir=/u\n",
        "1 0 0:30 / / rw - overlay overlay rw,upperdir=/u\n2 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct overlay overlay = OVERLAY_INIT;
        struct error error = ERROR_INIT;

        assert_true(find(lines[i], &overlay, &error) < 0);
        assert_true(error_is(&error, "rootfs-not-overlay"));
        error_done(&error);
    }
}

/* A process whose "/" is `root`; it has changed something there. */
static pid_t start_container(const char *root)
{
    int ready[2];
    char byte = 0;
    pid_t pid;

    MUST(pipe2(ready, O_CLOEXEC) == 0);
    pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        MUST(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        MUST(chdir(root) == 0 && mount("tmpfs", "tmp", "tmpfs", 0, "") == 0);
        MUST(mount(".", "/", NULL, MS_MOVE, NULL) == 0 && chroot(".") == 0);
        put_file(AT_FDCWD, "/etc/changed", "inside", 0644);
        put_file(AT_FDCWD, "/tmp/volatile", "inside", 0644);
        MUST(write(ready[1], "", 1) == 1);
        for (;;)
            (void)pause();
    }
    (void)close(ready[1]);
    MUST(read(ready[0], &byte, 1) == 1);
    (void)close(ready[0]);
    return pid;
}

static void stop_container(pid_t pid)
{
    MUST(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static int open_root(pid_t pid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/root", (int)pid);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    MUST(fd >= 0);
    return fd;
}

static void save_process(pid_t pid, int archive)
{
    CLEANUP(mount_table_done) struct mount_table table = MOUNT_TABLE_INIT;
    CLEANUP(overlay_done) struct overlay overlay = OVERLAY_INIT;
    CLEANUP(close_fd) int prefix = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_fd) int merged = open_root(pid);
    CLEANUP(close_fd) int upper = -1;
    struct rootfs_source source = {.merged = merged};
    struct rootfs_summary sum;

    assert_int_equal(mount_table_read(pid, &table, NULL), 0);
    assert_int_equal(overlay_find(&table, &overlay, NULL), 0);
    assert_int_equal(overlay_open_upper(&overlay, prefix, merged, &upper, NULL), 0);
    source.upper = upper;
    source.indexed = overlay.indexed;
    assert_int_equal(rootfs_save(&source, archive, &sum, NULL), 0);
    assert_int_equal(sum.files, 1);
    assert_int_equal(sum.mount_points, 0);
}

static void test_process(void **state)
{
    char *base = fixture_directory(32);
    CLEANUP(free_ptr) char *image = text_format("%s/image", base);
    CLEANUP(close_fd) int archive = fixture_archive();
    struct layers from, to;
    pid_t pid;

    (void)state;
    MUST(mkdir(image, 0755) == 0);
    fixture_image(image);
    MUST(layers_mount(&from, base, "from", image, ""));
    MUST(layers_mount(&to, base, "to", image, ""));
    pid = start_container(from.merged);
    save_process(pid, archive);
    stop_container(pid);
    pid = start_container(to.merged);
    MUST(unlinkat(to.merged_fd, "etc/changed", 0) == 0);
    fixture_apply(archive, &to);
    assert_int_equal(faccessat(to.upper_fd, "etc/changed", F_OK, 0), 0);
    assert_int_equal(faccessat(to.upper_fd, "tmp/volatile", F_OK, 0), -1);
    stop_container(pid);
    layers_unmount(&from);
    layers_unmount(&to);
    fixture_directory_remove(base);
}

/* A path that leads to something else than what is mounted, or nowhere. */
static void test_wrong_upper(void **state)
{
    char *base = fixture_directory(32);
    CLEANUP(free_ptr) char *image = text_format("%s/image", base);
    CLEANUP(close_fd) int prefix = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct overlay overlay = OVERLAY_INIT;
    struct error error = ERROR_INIT;
    struct layers layers;
    struct statx st;
    int fd = -1;

    (void)state;
    MUST(mkdir(image, 0755) == 0);
    MUST(layers_mount(&layers, base, "from", image, ""));
    MUST(statx(layers.merged_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) == 0);
    overlay = (struct overlay){
        .mount = (int)st.stx_mnt_id, .upper = layers.upper, .upper_plain = layers.upper};
    assert_int_equal(overlay_open_upper(&overlay, prefix, layers.merged_fd, &fd, &error), 0);
    close_fd(&fd);
    overlay.upper = overlay.upper_plain = layers.work;
    assert_true(overlay_open_upper(&overlay, prefix, layers.merged_fd, &fd, &error) < 0);
    assert_true(error_is(&error, "rootfs-upper"));
    error_done(&error);
    assert_true(overlay_open_upper(&overlay, layers.upper_fd, layers.merged_fd, &fd, &error) < 0);
    assert_true(error_is(&error, "rootfs-upper"));
    error_done(&error);
    layers_unmount(&layers);
    fixture_directory_remove(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_not_overlay),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_wrong_upper),
    };

    if (!fixture_isolate())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
