/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that saving never writes, and targets that can't take what is in one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fixture.h"

/* One entry; the root entry and the end mark come by themselves. */
struct item {
    const char *path;
    unsigned mode;
    const char *link;      /* target of a hard link, or of a symbolic one when the mode says so */
    const char *attribute; /* "" when it has none */
    const char *data;
    int64_t user;
};

static void add_item(struct archive *archive, const struct item *item)
{
    struct archive_entry *entry = archive_entry_new();
    size_t length = item->data ? strlen(item->data) : 0;

    MUST(entry);
    archive_entry_set_pathname(entry, item->path);
    archive_entry_set_mode(entry, item->mode);
    archive_entry_set_size(entry, (int64_t)length);
    archive_entry_set_uid(entry, item->user);
    if (item->link && S_ISLNK(item->mode))
        archive_entry_set_symlink(entry, item->link);
    else if (item->link)
        archive_entry_set_hardlink(entry, item->link);
    if (S_ISCHR(item->mode))
        archive_entry_set_rdev(entry, 0x103);
    if (item->attribute) {
        const char *value = strchr(item->attribute, '=');
        CLEANUP(free_ptr) char *name = text_copy(item->attribute);

        if (value)
            name[value - item->attribute] = 0;
        value = value ? value + 1 : "";
        archive_entry_xattr_add_entry(entry, name, value, strlen(value));
    }
    MUST(archive_write_header(archive, entry) == ARCHIVE_OK);
    if (length > 0)
        MUST(archive_write_data(archive, item->data, length) == (ssize_t)length);
    archive_entry_free(entry);
}

static int make_plain(const struct item *items, size_t count)
{
    struct archive *archive = archive_write_new();
    int fd = fixture_archive();

    MUST(archive && archive_write_set_format_pax(archive) == ARCHIVE_OK);
    MUST(archive_write_open_fd(archive, fd) == ARCHIVE_OK);
    for (size_t i = 0; i < count; i++)
        add_item(archive, &items[i]);
    MUST(archive_write_free(archive) == ARCHIVE_OK);
    return fd;
}

static int make(const struct item *items, size_t count)
{
    struct item all[8] = {{".", S_IFDIR | 0755, NULL, "stasis.root=overlay 1", NULL, 0}};
    CLEANUP(free_ptr) char *end = text_format("stasis.end=%zu", count + 1);

    if (count > 0)
        memcpy(all + 1, items, count * sizeof *items);
    all[count + 1] = (struct item){".", S_IFDIR | 0755, NULL, end, NULL, 0};
    return make_plain(all, count + 2);
}

/* A directory beside which nothing may appear. */
struct place {
    char *base, *target, *outside;
    int fd;
};

static struct place place;

static int set_up(void **state)
{
    (void)state;
    place.base = fixture_directory(16);
    place.target = text_format("%s/target", place.base);
    place.outside = text_format("%s/outside", place.base);
    MUST(mkdir(place.target, 0755) == 0 && mkdir(place.outside, 0755) == 0);
    place.fd = open(place.target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(place.fd >= 0 && symlinkat("../outside", place.fd, "way-out") == 0);
    MUST(symlinkat(place.outside, place.fd, "absolute") == 0);
    put_directory(place.fd, "etc", 0755);
    put_file(place.fd, "etc/passwd", "passwd", 0644);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_fd(&place.fd);
    fixture_directory_remove(place.base);
    free(place.target);
    free(place.outside);
    return 0;
}

static void apply(int archive, bool devices, const char *code)
{
    struct rootfs_apply_options options = {.devices = devices};
    struct error error = ERROR_INIT;
    CLEANUP(free_ptr) char *outside = fixture_describe(place.outside);
    CLEANUP(free_ptr) char *after = NULL;
    int r = rootfs_apply(archive, place.fd, &options, NULL, &error);

    if (code ? r == 0 || !error_is(&error, code) : r < 0)
        fail_msg("%s: %s", r < 0 ? error.code : "applied", r < 0 ? error.message : "");
    error_done(&error);
    after = fixture_describe(place.outside);
    fixture_same("outside", outside, after);
}

/* Refused, with nothing changed although a good entry came before. */
static void refused(const struct item *item, const char *code)
{
    struct item items[2] = {{"good", S_IFREG | 0644, NULL, NULL, "good", 0}, *item};
    CLEANUP(close_fd) int archive = make(items, 2);
    CLEANUP(free_ptr) char *before = fixture_describe(place.target);
    CLEANUP(free_ptr) char *after = NULL;

    apply(archive, false, code);
    after = fixture_describe(place.target);
    fixture_same(item->path, before, after);
}

static void test_entries(void **state)
{
    static const struct item items[] = {
        {"/etc/passwd", S_IFREG | 0644, NULL, NULL, "x", 0},
        {"../outside/x", S_IFREG | 0644, NULL, NULL, "x", 0},
        {"etc/../../outside/x", S_IFREG | 0644, NULL, NULL, "x", 0},
        {"etc/..", S_IFDIR | 0755, NULL, NULL, NULL, 0},
        {"..", S_IFREG | 0755, NULL, "stasis.whiteout", NULL, 0},
        {"etc//x", S_IFREG | 0644, NULL, NULL, "x", 0},
        {"./etc/x", S_IFREG | 0644, NULL, NULL, "x", 0},
        {".", S_IFDIR | 0644, NULL, NULL, NULL, 0},
        {".", S_IFDIR | 0644, NULL, "stasis.end=1", NULL, 0},
        {".", S_IFREG | 0644, NULL, NULL, "x", 0},
        {"link", S_IFREG | 0644, "etc/passwd", NULL, NULL, 0},
        {"link", S_IFREG | 0644, "../outside", NULL, NULL, 0},
        {"link", S_IFREG | 0644, "good", NULL, NULL, 0}, /* which has no mark for it */
        {"link", S_IFREG | 0644, "link", "stasis.linked", NULL, 0},
        {"etc/.stasis-rootfs-new", S_IFREG | 0644, NULL, NULL, "x", 0},
        {"x", S_IFREG | 0644, NULL, "system.other", "x", 0},
        {"x", S_IFREG | 0644, NULL, "security.selinux", "x", 0},
        {"x", S_IFREG | 0644, NULL, "stasis.whiteout", "with data", 0},
        {"x", S_IFDIR | 0644, NULL, "stasis.socket", NULL, 0},
        {"x", S_IFLNK | 0644, "y", "stasis.whiteout", NULL, 0},
        {"x", S_IFREG | 0644, NULL, NULL, "x", INT64_C(1) << 40},
        {"x", S_IFREG | 0644, NULL, NULL, "x", UINT32_MAX},
    };
    static const struct item device = {"null", S_IFCHR | 0666, NULL, NULL, NULL, 0};

    (void)state;
    for (size_t i = 0; i < sizeof items / sizeof *items; i++)
        refused(&items[i], "rootfs-archive");
    refused(&device, "rootfs-device");
}

static void test_device_allowed(void **state)
{
    static const struct item device = {"null", S_IFCHR | 0666, NULL, NULL, NULL, 0};
    CLEANUP(close_fd) int archive = make(&device, 1);
    struct stat st;

    (void)state;
    apply(archive, true, NULL);
    assert_int_equal(fstatat(place.fd, "null", &st, 0), 0);
    assert_int_equal(st.st_rdev, 0x103);
}

/* Links in the target and links that the archive brings: none is ever followed. */
static void test_links_out(void **state)
{
    static const struct item through[] = {{"way-out/x", S_IFREG | 0644, NULL, NULL, "x", 0}};
    static const struct item through_absolute[] = {
        {"absolute/x", S_IFREG | 0644, NULL, "stasis.whiteout", NULL, 0}};
    static const struct item own[] = {{"d", S_IFLNK | 0777, "../outside", NULL, NULL, 0},
                                      {"d/x", S_IFREG | 0644, NULL, NULL, "x", 0}};
    static const struct item replaced[] = {
        {"way-out", S_IFDIR | 0700, NULL, "stasis.opaque", NULL, 0},
        {"way-out/x", S_IFREG | 0644, NULL, NULL, "x", 0},
        {"absolute", S_IFREG | 0600, NULL, NULL, "file", 0}};
    CLEANUP(close_fd) int a = make(through, 1);
    CLEANUP(close_fd) int b = make(through_absolute, 1);
    CLEANUP(close_fd) int c = make(own, 2);
    CLEANUP(close_fd) int d = make(replaced, 3);
    struct stat st;

    (void)state;
    apply(a, false, "rootfs-apply");
    apply(b, false, NULL); /* below a link there is nothing to remove */
    apply(c, false, "rootfs-apply");
    apply(d, false, NULL);
    assert_int_equal(fstatat(place.fd, "way-out", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(faccessat(place.fd, "way-out/x", F_OK, 0), 0);
    assert_int_equal(fstatat(place.fd, "absolute", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void test_wholes(void **state)
{
    static const struct item no_root[] = {{"x", S_IFREG | 0644, NULL, NULL, "x", 0}};
    static const struct item named_root[] = {
        {"x", S_IFDIR | 0755, NULL, "stasis.root=overlay 1", NULL, 0},
        {".", S_IFDIR | 0755, NULL, "stasis.end=1", NULL, 0}};
    static const struct item no_end[] = {
        {".", S_IFDIR | 0755, NULL, "stasis.root=overlay 1", NULL, 0}};
    static const struct item newer[] = {
        {".", S_IFDIR | 0755, NULL, "stasis.root=overlay 2", NULL, 0},
        {".", S_IFDIR | 0755, NULL, "stasis.end=1", NULL, 0}};
    static const struct item tree[] = {{".", S_IFDIR | 0755, NULL, "stasis.root=tree 1", NULL, 0},
                                       {".", S_IFDIR | 0755, NULL, "stasis.end=1", NULL, 0}};
    static const struct item after[] = {
        {".", S_IFDIR | 0755, NULL, "stasis.root=overlay 1", NULL, 0},
        {".", S_IFDIR | 0755, NULL, "stasis.end=1", NULL, 0},
        {"x", S_IFREG | 0644, NULL, NULL, "x", 0}};
    const struct {
        const struct item *items;
        size_t count;
    } all[] = {{NULL, 0},  {no_root, 1}, {named_root, 2}, {no_end, 1},
               {newer, 2}, {tree, 2},    {after, 3}};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        CLEANUP(close_fd) int archive = make_plain(all[i].items, all[i].count);

        apply(archive, false, "rootfs-archive");
    }
}

/* Wherever a good archive is cut off, it is refused. */
static void test_cut_off(void **state)
{
    static const struct item items[] = {{"a", S_IFREG | 0644, NULL, "user.x=y", "data of a", 0},
                                        {"b", S_IFDIR | 0644, NULL, "stasis.opaque", NULL, 0},
                                        {"b/c", S_IFREG | 0644, NULL, NULL, "data of c", 0}};
    CLEANUP(close_fd) int archive = make(items, 3);
    CLEANUP(free_ptr) char *before = fixture_describe(place.target);
    CLEANUP(free_ptr) char *after = NULL;
    struct stat st;

    (void)state;
    MUST(fstat(archive, &st) == 0);
    for (off_t length = st.st_size - 10240; length >= 0; length -= 171) {
        struct error error = ERROR_INIT;
        struct rootfs_apply_options options = {0};

        MUST(ftruncate(archive, length) == 0);
        if (rootfs_apply(archive, place.fd, &options, NULL, &error) == 0)
            fail_msg("cut off at %ld", (long)length);
        assert_true(error_is(&error, "rootfs-archive"));
        error_done(&error);
    }
    after = fixture_describe(place.target);
    fixture_same("cut off", before, after);
}

static void remount(unsigned long flags)
{
    MUST(mount(NULL, place.base, NULL, MS_REMOUNT | flags, NULL) == 0);
}

static void test_read_only(void **state)
{
    static const struct item file = {"x", S_IFREG | 0644, NULL, NULL, "x", 0};
    static const struct item harmless[] = {
        {"etc", S_IFDIR | 0755, NULL, NULL, NULL, 0},
        {"gone", S_IFREG, NULL, "stasis.whiteout", NULL, 0},
        {"etc/passwd", S_IFREG | 0644, NULL, "stasis.mount-point", NULL, 0}};
    static const struct item mode = {"etc", S_IFDIR | 0700, NULL, NULL, NULL, 0};
    static const struct item remove = {"etc/passwd", S_IFREG, NULL, "stasis.whiteout", NULL, 0};
    CLEANUP(close_fd) int nothing = make(NULL, 0);
    CLEANUP(close_fd) int good = make(harmless, 3);
    CLEANUP(close_fd) int a = make(&file, 1);
    CLEANUP(close_fd) int b = make(&mode, 1);
    CLEANUP(close_fd) int c = make(&remove, 1);

    (void)state;
    remount(MS_RDONLY);
    apply(nothing, false, NULL);
    apply(good, false, NULL);
    apply(a, false, "rootfs-read-only");
    apply(b, false, "rootfs-read-only");
    apply(c, false, "rootfs-read-only");
    remount(0);
}

static void test_disk_full(void **state)
{
    CLEANUP(free_ptr) char *data = allocate((32 << 20) + 1);
    struct item items[] = {{"large", S_IFREG | 0644, NULL, NULL, data, 0}};
    CLEANUP(close_fd) int archive = -1;

    (void)state;
    memset(data, 'x', 32 << 20);
    archive = make(items, 1);
    apply(archive, false, "disk-full");
    assert_int_equal(faccessat(place.fd, ".stasis-rootfs-new", F_OK, 0), -1);
    assert_int_equal(faccessat(place.fd, "large", F_OK, 0), -1);
}

static void test_save_disk_full(void **state)
{
    CLEANUP(close_fd)
    int archive = openat(place.fd, "archive", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CLEANUP(free_ptr) char *source_path = fixture_directory(64);
    CLEANUP(close_fd) int source = open(source_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(free_ptr) char *data = allocate((24 << 20) + 1);
    struct tree_source tree = {.directory = source};
    struct error error = ERROR_INIT;

    (void)state;
    memset(data, 'x', 24 << 20);
    put_file(source, "large", data, 0600);
    assert_true(tree_save(&tree, archive, NULL, &error) < 0);
    assert_true(error_is(&error, "disk-full"));
    error_done(&error);
    close_fd(&source);
    fixture_directory_remove(STEAL_PTR(source_path));
}

/* A volume of the target is neither written to nor taken away. */
static void test_mount_in_the_way(void **state)
{
    static const struct item below = {"etc/x", S_IFREG | 0644, NULL, NULL, "x", 0};
    static const struct item gone = {"etc", S_IFREG, NULL, "stasis.whiteout", NULL, 0};
    static const struct item file = {"etc", S_IFREG | 0644, NULL, NULL, "x", 0};
    static const struct item parent_gone = {"up", S_IFREG, NULL, "stasis.whiteout", NULL, 0};
    static const struct item opaque = {"up", S_IFDIR | 0755, NULL, "stasis.opaque", NULL, 0};
    static const struct item point = {"etc", S_IFDIR | 0755, NULL, "stasis.mount-point", NULL, 0};
    const struct item *const refused_items[] = {&below, &gone, &file, &parent_gone};
    CLEANUP(free_ptr) char *etc = text_format("%s/etc", place.target);
    CLEANUP(free_ptr) char *inner = text_format("%s/up/down", place.target);
    CLEANUP(close_fd) int allowed = make(&opaque, 1);
    CLEANUP(close_fd) int allowed_point = make(&point, 1);

    (void)state;
    put_directory(place.fd, "up", 0755);
    put_directory(place.fd, "up/down", 0755);
    MUST(mount(place.outside, etc, NULL, MS_BIND, NULL) == 0);
    MUST(mount(place.outside, inner, NULL, MS_BIND, NULL) == 0);
    for (size_t i = 0; i < sizeof refused_items / sizeof *refused_items; i++) {
        CLEANUP(close_fd) int archive = make(refused_items[i], 1);

        apply(archive, false, "rootfs-mount");
    }
    apply(allowed, false, NULL);
    apply(allowed_point, false, NULL);
    MUST(umount(inner) == 0 && umount(etc) == 0); /* they are still there */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_entries),   TEST(test_device_allowed), TEST(test_links_out),
        TEST(test_wholes),    TEST(test_cut_off),        TEST(test_read_only),
        TEST(test_disk_full), TEST(test_save_disk_full), TEST(test_mount_in_the_way),
    };

    if (!fixture_isolate())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
