/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of change that a container can make, one after the other and all at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fixture.h"

static int set_up(void **state)
{
    *state = fixture_directory(0);
    return 0;
}

static int set_up_tmpfs(void **state)
{
    *state = fixture_directory(256);
    return 0;
}

static int tear_down(void **state)
{
    fixture_directory_remove(*state);
    return 0;
}

static void remove_all(int root, const char *path)
{
    MUST(directory_remove_all(root, path) == 0);
}

static void change_nothing(int root)
{
    (void)root;
}

static void test_nothing(void **state)
{
    struct rootfs_summary sum;

    assert_true(fixture_round_trip(*state, "", change_nothing, &sum));
    assert_int_equal(sum.files + sum.directories + sum.symlinks + sum.specials + sum.whiteouts, 0);
    assert_int_equal(sum.bytes, 0);
}

static void change_files(int root)
{
    CLEANUP(close_fd) int fd = openat(root, "etc/passwd", O_WRONLY | O_APPEND | O_CLOEXEC);

    MUST(file_write_all(fd, "more\n", 5) == 0);
    put_file(root, "etc/new", "new", 0644);
    put_file(root, "etc/empty", "", 0);
    MUST(fchmodat(root, "usr/bin/su", 06711, 0) == 0);
    MUST(fchownat(root, "home/user/file", 12345678, 3000000, 0) == 0);
    put_file(root, "opt/many/file-3", "3", 02750);
    put_time(root, "opt/many/file-3", -5, 123456789);
    put_time(root, "opt/many/file-4", INT64_C(5000000000), 999999999);
    MUST(unlinkat(root, "etc/shadow", 0) == 0);
    put_file(root, "tmp/.wh.x", "a file of that name", 0600);
    put_file(root, "etc/.wh..wh..opq", "and of that", 0600);
}

static void test_files(void **state)
{
    struct rootfs_summary sum;

    assert_true(fixture_round_trip(*state, "", change_files, &sum));
    assert_int_equal(sum.files, 9);
    assert_int_equal(sum.whiteouts, 1);
    assert_int_equal(sum.bytes, 11 + 5 + 3 + 5 + 5 + 1 + strlen("opt/many/file-4") + 19 + 11);
}

static void change_directories(int root)
{
    put_directory(root, "srv", 0700);
    put_directory(root, "srv/a", 03777);
    put_directory(root, "srv/a/b", 0);
    MUST(fchmodat(root, "var", 0711, 0) == 0);
    MUST(fchownat(root, "var", 3, 4, 0) == 0);
    put_time(root, "var", 77, 88);
    remove_all(root, "var/log/old");
    remove_all(root, "opt/many"); /* gone, and there again with something else */
    put_directory(root, "opt/many", 0750);
    put_file(root, "opt/many/only", "only", 0644);
    put_directory(root, "opt/many/below", 0755);
    put_directory(root, "opt/many/below/it", 0755);
    remove_all(root, "usr/lib"); /* a file now */
    put_file(root, "usr/lib", "not a directory", 0644);
    MUST(unlinkat(root, "etc/passwd", 0) == 0); /* a directory now */
    put_directory(root, "etc/passwd", 0755);
    put_file(root, "etc/passwd/x", "x", 0644);
    MUST(renameat(root, "srv/a/b", root, "srv/c") == 0);
    MUST(fchmodat(root, "", 0, 0) < 0);
}

static void test_directories(void **state)
{
    struct rootfs_summary sum;

    assert_true(fixture_round_trip(*state, "", change_directories, &sum));
    assert_true(sum.opaque >= 3);
    assert_true(sum.whiteouts >= 1);
}

static void change_types(int root)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    MUST(unlinkat(root, "lib", 0) == 0 && symlinkat("/usr/bin", root, "lib") == 0);
    MUST(symlinkat("nowhere/../at/all", root, "etc/dangling") == 0);
    MUST(fchownat(root, "etc/dangling", 7, 8, AT_SYMLINK_NOFOLLOW) == 0);
    put_time(root, "etc/dangling", 1, 2);
    remove_all(root, "var/log"); /* directory to link */
    MUST(symlinkat("/tmp", root, "var/log") == 0);
    MUST(unlinkat(root, "usr/lib/libx.so", 0) == 0); /* link to directory */
    put_directory(root, "usr/lib/libx.so", 0755);
    put_file(root, "usr/lib/libx.so/inside", "x", 0644);
    MUST(unlinkat(root, "var/pipe", 0) == 0 && mkfifoat(root, "opt/pipe", 0600) == 0);
    put_file(root, "var/pipe", "a file", 0644);
    MUST(mknodat(root, "opt/null", S_IFCHR | 0666, makedev(1, 3)) == 0);
    MUST(fchmodat(root, "opt/null", 0666, 0) == 0);
    MUST(mknodat(root, "opt/disk", S_IFBLK | 0600, makedev(259, 70000)) == 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/opt/socket", root);
    MUST(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    MUST(fchmodat(root, "opt/socket", 0777, 0) == 0);
    remove_all(root, "home/user");
    MUST(mkfifoat(root, "home/user", 0622) == 0);
}

static void test_types(void **state)
{
    struct rootfs_summary sum;

    assert_true(fixture_round_trip(*state, "", change_types, &sum));
    assert_int_equal(sum.specials, 5);
    assert_int_equal(sum.symlinks, 3);
}

static void change_links(int root)
{
    put_file(root, "tmp/a", "linked", 0644);
    MUST(linkat(root, "tmp/a", root, "etc/b", 0) == 0);
    MUST(linkat(root, "tmp/a", root, "usr/c", 0) == 0);
    MUST(unlinkat(root, "etc/passwd", 0) == 0);
    MUST(linkat(root, "tmp/a", root, "etc/passwd", 0) == 0);
    MUST(linkat(root, "etc/shadow", root, "etc/shadow-", 0) == 0); /* of a file of the image */
    put_file(root, "usr/bin/one", "changed by one of three names", 0755);
    MUST(linkat(root, "var/pipe", root, "var/same-pipe", 0) == 0);
}

/* A pipe with two names comes back as two pipes: links are kept for files. */
static void change_file_links(int root)
{
    change_links(root);
    MUST(unlinkat(root, "var/same-pipe", 0) == 0);
}

static void test_links(void **state)
{
    struct rootfs_summary sum;

    assert_true(fixture_round_trip(*state, "index=off", change_file_links, &sum));
    assert_int_equal(sum.hard_links, 3 + 1);
}

static void change_indexed_links(int root)
{
    struct stat st;

    change_file_links(root);
    MUST(fstatat(root, "opt/third-name", &st, 0) == 0);
    MUST(st.st_nlink == 3 && st.st_size == 29); /* else the test tests nothing */
}

static void test_indexed_links(void **state)
{
    struct rootfs_summary sum;

    if (!fixture_round_trip(*state, "index=on", change_indexed_links, &sum))
        skip();
    assert_int_equal(sum.hard_links, 3 + 1 + 2);
}

static const unsigned char acl[] = {2,   0,   0,   0,   1,   0,  6,    0, 255, 255, 255, 255, 2,
                                    0,   4,   0,   232, 3,   0,  0,    4, 0,   4,   0,   255, 255,
                                    255, 255, 8,   0,   7,   0,  0x2a, 0, 0,   0,   16,  0,   7,
                                    0,   255, 255, 255, 255, 32, 0,    0, 0,   255, 255, 255, 255};
/* cap_net_raw=ep */
static const unsigned char capability[] = {1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0,
                                           0, 0, 0, 0, 0, 0,    0, 0, 0, 0};

static void change_attributes(int root)
{
    static char large[3000];

    memset(large, 'x', sizeof large);
    put_file(root, "etc/acl", "acl", 0640);
    put_attribute(root, "etc/acl", "system.posix_acl_access", acl, sizeof acl);
    put_file(root, "etc/before-default", "", 0640);
    put_directory(root, "etc/default", 0755);
    put_file(root, "etc/default/without", "", 0644);
    put_attribute(root, "etc/default", "system.posix_acl_default", acl, sizeof acl);
    put_file(root, "etc/default/with", "", 0644);
    put_directory(root, "etc/default/directory", 0755);
    put_attribute(root, "usr/bin/su", "security.capability", capability, sizeof capability);
    put_attribute(root, "usr/lib", "trusted.mine", "a\0b", 3);
    put_attribute(root, "lib", "trusted.of-link", "", 0);
    put_attribute(root, "var/pipe", "trusted.of-pipe", "p", 1);
    put_file(root, "tmp/user", "", 0600);
    put_attribute(root, "tmp/user", "trusted.na=me %41 \xff", "=", 1);
    put_attribute(root, "tmp/user", "trusted.large", large, sizeof large);
}

static void test_attributes(void **state)
{
    assert_true(fixture_round_trip(*state, "", change_attributes, NULL));
}

static void change_user_attributes(int root)
{
    put_attribute(root, "etc/passwd", "user.one", "1", 1);
    put_attribute(root, "usr", "user.\xc3\xa4", "\n\0\n", 3);
}

static void test_user_attributes(void **state)
{
    if (setxattr(*state, "user.test", "", 0, 0) < 0)
        skip();
    assert_true(fixture_round_trip(*state, "", change_user_attributes, NULL));
}

static void change_names(int root)
{
    char name[256], path[4200] = "";
    CLEANUP(close_fd) int at = fd_duplicate(root, 3);

    put_file(root, "tmp/\xff\xfe not utf-8 \x01\n\t", "1", 0600);
    put_file(root, "tmp/ ", "2", 0600);
    put_file(root, "tmp/\\", "3", 0600);
    put_file(root, "tmp/...", "4", 0600);
    put_file(root, "tmp/-rf", "5", 0600);
    put_file(root, "tmp/\xe6\x97\xa5\xe6\x9c\xac", "6", 0600);
    MUST(symlinkat("\xff\n", root, "tmp/\xfelink") == 0);
    MUST(linkat(root, "tmp/\xff\xfe not utf-8 \x01\n\t", root, "tmp/\xfdhard", 0) == 0);
    memset(name, 'n', 255);
    name[255] = 0;
    for (int i = 0; i < 20; i++) { /* 5,120 bytes */
        int next;

        put_directory(at, name, 0755);
        put_file(at, "file", "deep", 0644);
        next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        MUST(next >= 0);
        close_fd(&at);
        at = next;
    }
    put_file(at, "deepest", "deepest", 0644);
    put_file(at, name, "long", 0644);
    memset(path, 'l', 4095);
    MUST(symlinkat(path, at, "link") == 0);
}

static void test_names(void **state)
{
    assert_true(fixture_round_trip(*state, "", change_names, NULL));
}

static void put_sparse(int root, const char *path, int64_t size, const int64_t *at, size_t count)
{
    CLEANUP(close_fd) int fd = openat(root, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    MUST(fd >= 0 && ftruncate(fd, size) == 0);
    for (size_t i = 0; i < count; i++)
        MUST(pwrite(fd, "data", 4, at[i]) == 4);
}

static void change_sparse(int root)
{
    static const int64_t places[] = {0, 5000000, INT64_C(9000000000), INT64_C(9999999996)};

    put_sparse(root, "tmp/start", 20000000, places, 1);
    put_sparse(root, "tmp/both", INT64_C(10000000000), places, 4);
    put_sparse(root, "tmp/nothing", INT64_C(12000000000), NULL, 0);
    put_sparse(root, "tmp/hole-first", 5000004, places + 1, 1);
    put_sparse(root, "tmp/small", 3, NULL, 0);
}

static void test_sparse(void **state)
{
    struct rootfs_summary sum;

    assert_true(fixture_round_trip(*state, "", change_sparse, &sum));
    assert_in_range(sum.bytes, 7 * 4, 1 << 20);
}

static void change_many(int root)
{
    put_directory(root, "srv", 0755);
    for (int i = 0; i < 5000; i++) {
        CLEANUP(free_ptr) char *path = text_format("srv/%d", i);

        if (i % 100 == 0)
            put_directory(root, path, 0755);
        else
            put_file(root, path, path, 0644);
    }
    for (int i = 0; i < 5000; i += 100) {
        CLEANUP(free_ptr) char *path = text_format("srv/%d/x", i);

        put_file(root, path, path, 0644);
    }
}

static void test_many(void **state)
{
    struct rootfs_summary sum;

    assert_true(fixture_round_trip(*state, "", change_many, &sum));
    assert_int_equal(sum.files, 5000);
    assert_int_equal(sum.directories, 51);
}

static void change_everything(int root)
{
    change_links(root);
    MUST(unlinkat(root, "var/same-pipe", 0) == 0);
    change_attributes(root);
    change_sparse(root);
    MUST(renameat(root, "etc/default", root, "usr/moved") == 0);
    remove_all(root, "opt/many");
    MUST(unlinkat(root, "opt/third-name", 0) == 0);
}

static void test_everything(void **state)
{
    assert_true(fixture_round_trip(*state, "", change_everything, NULL));
}

/* Directories of the image, renamed: only where they came from is in the upper layer. */
static void change_redirected(int root)
{
    MUST(renameat(root, "opt/many", root, "usr/many") == 0);
    put_file(root, "usr/many/file-7", "changed", 0644);
    MUST(unlinkat(root, "usr/many/file-8", 0) == 0);
    MUST(renameat(root, "usr/bin", root, "opt/bin") == 0);
    put_directory(root, "usr/bin", 0755);
    put_file(root, "usr/bin/one", "another", 0755);
    /* One in the place of another: what the image has there must not shine through. */
    MUST(renameat(root, "usr/many/below", root, "usr/below") == 0);
    MUST(renameat(root, "var/log", root, "usr/many/below") == 0);
}

static void test_redirected(void **state)
{
    if (!fixture_round_trip(*state, "redirect_dir=on", change_redirected, NULL))
        skip();
}

static void change_metadata_only(int root)
{
    MUST(fchmodat(root, "usr/bin/su", 0700, 0) == 0);
    MUST(fchownat(root, "opt/many/file-1", 5, 6, 0) == 0);
    MUST(renameat(root, "opt/many/file-1", root, "opt/many/moved") == 0);
    put_time(root, "etc/shadow", 3, 4);
}

static void test_metadata_only(void **state)
{
    struct rootfs_summary sum;

    if (!fixture_round_trip(*state, "redirect_dir=on,metacopy=on", change_metadata_only, &sum))
        skip();
    assert_int_equal(sum.bytes, 5 + strlen("opt/many/file-1") + 7);
}

/* An overlay inside of a container keeps marks in attributes of its own layers. */
static void change_nested(int root)
{
    put_directory(root, "srv", 0755);
    MUST(mkdirat(root, "srv/upper", 0755) == 0);
    put_attribute(root, "srv/upper", "trusted.overlay.opaque", "y", 1);
    put_file(root, "srv/upper/file", "", 0644);
    put_attribute(root, "srv/upper/file", "trusted.overlay.whiteout", "", 0);
}

static void test_nested(void **state)
{
    CLEANUP(free_ptr) char *lower = text_format("%s/probe", (char *)*state);
    struct layers probe;
    bool possible;

    MUST(mkdir(lower, 0755) == 0);
    MUST(layers_mount(&probe, *state, "nested", lower, ""));
    possible = setxattr(probe.merged, "trusted.overlay.opaque", "y", 1, 0) == 0;
    layers_unmount(&probe);
    if (!possible)
        skip();
    assert_true(fixture_round_trip(*state, "", change_nested, NULL));
}

static void bind_over(const struct layers *layers, const char *what, const char *path)
{
    CLEANUP(free_ptr) char *point = text_format("%s/%s", layers->merged, path);

    MUST(mount(what, point, NULL, MS_BIND, NULL) == 0);
}

static bool has(int directory, const char *path)
{
    return faccessat(directory, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void make_volume(const char *base, const char *name)
{
    CLEANUP(free_ptr) char *volume = text_format("%s/%s", base, name);
    CLEANUP(free_ptr) char *file = text_format("%s/keep", volume);
    CLEANUP(close_fd) int fd = -1;

    MUST(mkdir(volume, 0700) == 0);
    fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    MUST(fd >= 0);
}

/* As a runtime does it: placeholders in the upper layer, and something mounted on them. */
static void make_mounted(struct layers *layers, const char *base, const char *name,
                         const char *image)
{
    CLEANUP(free_ptr) char *volume = text_format("%s/volume-%s", base, name);
    CLEANUP(free_ptr) char *file = text_format("%s/keep", volume);
    CLEANUP(free_ptr) char *volume_name = text_format("volume-%s", name);

    make_volume(base, volume_name);
    MUST(layers_mount(layers, base, name, image, ""));
    put_directory(layers->merged_fd, "data", 0755);
    put_file(layers->merged_fd, "etc/hosts", "", 0644);
    put_file(layers->merged_fd, "etc/config", "", 0644);
    put_directory(layers->merged_fd, "proc", 0555);
    put_file(layers->merged_fd, ".dockerenv", "", 0755);
    bind_over(layers, volume, "data");
    bind_over(layers, volume, "opt/many");
    bind_over(layers, file, "etc/hosts");
    bind_over(layers, file, "etc/config");
}

static void test_mounts(void **state)
{
    static const char *const exclusions[] = {"/var/cache", "*.pyc", "__pycache__", NULL};
    CLEANUP(free_ptr) char *image = text_format("%s/image", (char *)*state);
    CLEANUP(close_fd) int archive = fixture_archive();
    struct rootfs_summary sum;
    struct layers from, to;

    MUST(mkdir(image, 0755) == 0);
    fixture_image(image);
    make_mounted(&from, *state, "from", image);
    make_mounted(&to, *state, "to", image);
    put_file(from.merged_fd, "data/written", "into the volume", 0644);
    put_file(from.merged_fd, "proc/x", "", 0644);
    put_directory(from.merged_fd, "var/cache", 0755);
    put_file(from.merged_fd, "var/cache/x", "", 0644);
    put_directory(from.merged_fd, "usr/__pycache__", 0755);
    put_file(from.merged_fd, "usr/__pycache__/x", "", 0644);
    put_file(from.merged_fd, "usr/x.pyc", "", 0644);
    put_file(from.merged_fd, "usr/x.py", "", 0644);
    fixture_save(&from, exclusions, archive, &sum);
    assert_int_equal(sum.mount_points, 2); /* data, etc/config */
    assert_int_equal(sum.files, 1);
    fixture_apply(archive, &to);
    assert_true(has(to.merged_fd, "usr/x.py") && has(to.merged_fd, "data/keep"));
    assert_true(has(to.merged_fd, "opt/many/keep"));
    assert_false(has(to.merged_fd, "data/written") || has(to.merged_fd, "proc/x"));
    assert_false(has(to.merged_fd, "var/cache") || has(to.merged_fd, "usr/__pycache__"));
    assert_false(has(to.merged_fd, "usr/x.pyc"));
    layers_unmount(&from);
    layers_unmount(&to);
}

static struct rootfs_ids shifted(const struct id_range *range)
{
    return (struct rootfs_ids){.users = {range, 1}, .groups = {range, 1}};
}

static void expect_apply(int archive, const struct layers *to, const struct rootfs_ids *ids,
                         const char *code)
{
    struct rootfs_apply_options options = {.devices = true, .ids = *ids};
    struct error error = ERROR_INIT;
    int r = rootfs_apply(archive, to->merged_fd, &options, NULL, &error);

    if (r < 0 && !error_is(&error, code))
        fail_msg("%s: %s", error.code, error.message);
    assert_true((r < 0) == (code != NULL));
    error_done(&error);
}

static void change_owned(int root)
{
    put_file(root, "etc/mine", "x", 04711);
    put_attribute(root, "etc/mine", "system.posix_acl_access", acl, sizeof acl);
    put_file(root, "etc/able", "x", 0711);
    put_attribute(root, "etc/able", "security.capability", capability, sizeof capability);
    MUST(fchownat(root, "etc/passwd", 1000, 1000, 0) == 0);
}

/* Into a user namespace and back. */
static void test_ids(void **state)
{
    static const struct id_range range = {0, 100000, 65536}, small = {0, 100000, 500};
    CLEANUP(free_ptr) char *image = text_format("%s/image", (char *)*state);
    CLEANUP(close_fd) int archive = fixture_archive();
    CLEANUP(free_ptr) char *wanted = NULL;
    CLEANUP(free_ptr) char *found = NULL;
    struct rootfs_ids ids = shifted(&range), few = shifted(&small), none = {0};
    struct rootfs_source source = {0};
    struct rootfs_summary sum;
    struct layers from, to, back;
    struct stat st;
    char value[64];

    MUST(mkdir(image, 0755) == 0);
    fixture_image(image);
    MUST(layers_mount(&from, *state, "from", image, ""));
    MUST(layers_mount(&to, *state, "to", image, ""));
    MUST(layers_mount(&back, *state, "back", image, ""));
    change_owned(from.merged_fd);
    wanted = fixture_describe(from.merged);
    fixture_save(&from, NULL, archive, &sum);
    expect_apply(archive, &to, &ids, NULL);
    MUST(fstatat(to.merged_fd, "etc/passwd", &st, 0) == 0);
    assert_int_equal(st.st_uid, 101000);
    MUST(fstatat(to.merged_fd, "etc/mine", &st, 0) == 0);
    assert_int_equal(st.st_uid, 100000);
    assert_int_equal(st.st_mode, S_IFREG | 04670); /* what the ACL says */
    MUST(fchdir(to.merged_fd) == 0);
    assert_int_equal(getxattr("etc/able", "security.capability", value, sizeof value), 24);
    source = (struct rootfs_source){.upper = to.upper_fd, .merged = to.merged_fd, .ids = ids};
    MUST(ftruncate(archive, 0) == 0 && lseek(archive, 0, SEEK_SET) == 0);
    MUST(rootfs_save(&source, archive, &sum, NULL) == 0);
    expect_apply(archive, &back, &none, NULL);
    found = fixture_describe(back.merged);
    fixture_same("there and back", wanted, found);
    expect_apply(archive, &to, &few, "rootfs-owner");
    MUST(chdir("/") == 0);
    layers_unmount(&from);
    layers_unmount(&to);
    layers_unmount(&back);
}

static void test_unmapped_owner(void **state)
{
    static const struct id_range range = {0, 0, 500};
    CLEANUP(free_ptr) char *image = text_format("%s/image", (char *)*state);
    CLEANUP(close_fd) int archive = fixture_archive();
    struct rootfs_source source = {.ids = shifted(&range)};
    struct error error = ERROR_INIT;
    struct layers from;

    MUST(mkdir(image, 0755) == 0);
    fixture_image(image);
    MUST(layers_mount(&from, *state, "from", image, ""));
    change_owned(from.merged_fd);
    source.upper = from.upper_fd;
    source.merged = from.merged_fd;
    assert_true(rootfs_save(&source, archive, NULL, &error) < 0);
    assert_true(error_is(&error, "rootfs-owner"));
    error_done(&error);
    layers_unmount(&from);
}

/* "userxattr", as without privileges: marks are in user.overlay.*, and there is no redirecting. */
static void test_user_marks(void **state)
{
    CLEANUP(free_ptr) char *image = text_format("%s/image", (char *)*state);
    CLEANUP(close_fd) int archive = fixture_archive();
    struct rootfs_source source = {.user_attributes = true};
    struct rootfs_summary sum;
    struct layers from, to;

    MUST(mkdir(image, 0755) == 0);
    fixture_image(image);
    if (setxattr(image, "user.test", "", 0, 0) < 0)
        skip();
    if (!layers_mount(&from, *state, "from", image, "userxattr"))
        skip();
    MUST(layers_mount(&to, *state, "to", image, ""));
    change_directories(from.merged_fd);
    source.upper = from.upper_fd;
    source.merged = from.merged_fd;
    MUST(rootfs_save(&source, archive, &sum, NULL) == 0);
    assert_true(sum.opaque >= 3);
    fixture_compare(archive, &from, &to);
    layers_unmount(&from);
    layers_unmount(&to);
}

/* A directory of that user namespace's view: on disk 0, here 100000. */
static int mount_shifted(const char *path)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP};
    CLEANUP(close_fd) int tree = -1;
    CLEANUP(close_fd) int namespace = fixture_user_namespace(100000, 65536);

    tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC);
    if (tree < 0 || namespace < 0)
        return -1;
    attributes.userns_fd = (uint64_t) namespace;
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
        return -1;
    return (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
}

/* A mount that maps ids takes no file that would belong to the root of the machine. */
static void test_mapped_mount(void **state)
{
    static const struct id_range range = {0, 100000, 65536};
    CLEANUP(free_ptr) char *image = text_format("%s/image", (char *)*state);
    CLEANUP(free_ptr) char *target = text_format("%s/target", (char *)*state);
    CLEANUP(free_ptr) char *wanted = NULL;
    CLEANUP(free_ptr) char *found = NULL;
    CLEANUP(close_fd) int archive = fixture_archive();
    CLEANUP(close_fd) int root = -1;
    struct rootfs_apply_options options = {.devices = true, .ids = shifted(&range)};
    struct error error = ERROR_INIT;
    struct layers from;

    MUST(mkdir(image, 0755) == 0 && mkdir(target, 0755) == 0);
    fixture_image(image);
    fixture_image(target);
    MUST(layers_mount(&from, *state, "from", image, ""));
    change_owned(from.merged_fd);
    change_types(from.merged_fd);
    wanted = fixture_describe(from.merged);
    fixture_save(&from, NULL, archive, &(struct rootfs_summary){0});
    if (mount_shifted(target) < 0)
        skip();
    root = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(mkdirat(root, "as-root-of-the-machine", 0700) < 0);
    if (rootfs_apply(archive, root, &options, NULL, &error) < 0)
        fail_msg("%s: %s", error.code, error.message);
    assert_int_equal(setfsuid((uid_t)-1), 0);
    close_fd(&root);
    MUST(umount(target) == 0); /* what is on disk looks as it was */
    found = fixture_describe(target);
    fixture_same("mapped", wanted, found);
    layers_unmount(&from);
}

#define ON_BOTH(test)                                         \
    {#test, test, set_up, tear_down, NULL},                   \
    {                                                         \
#test " (tmpfs)", test, set_up_tmpfs, tear_down, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_nothing),
        ON_BOTH(test_files),
        ON_BOTH(test_directories),
        ON_BOTH(test_types),
        ON_BOTH(test_links),
        ON_BOTH(test_indexed_links),
        ON_BOTH(test_attributes),
        ON_BOTH(test_user_attributes),
        ON_BOTH(test_names),
        ON_BOTH(test_sparse),
        {"test_many (tmpfs)", test_many, set_up_tmpfs, tear_down, NULL},
        ON_BOTH(test_everything),
        ON_BOTH(test_redirected),
        ON_BOTH(test_metadata_only),
        ON_BOTH(test_nested),
        ON_BOTH(test_mounts),
        ON_BOTH(test_ids),
        ON_BOTH(test_unmapped_owner),
        ON_BOTH(test_user_marks),
        ON_BOTH(test_mapped_mount),
    };

    if (!fixture_isolate())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
