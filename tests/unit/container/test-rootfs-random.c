/* SPDX-License-Identifier: Apache-2.0 */
/* Random changes, on overlays of every kind: what was saved and applied looks the same.
 * usage: test-container-rootfs-random [SEED [ROUNDS]] */
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
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fixture.h"

static const char *const kinds[] = {"",
                                    "redirect_dir=on",
                                    "redirect_dir=on,metacopy=on",
                                    "index=on",
                                    "index=off,redirect_dir=off,metacopy=off",
                                    "xino=on,redirect_dir=on"};

static uint64_t seed = 1, rounds = 60, now;

static uint64_t number(uint64_t below)
{
    return fixture_random(&now) % below;
}

/* Names of the image and new ones, so that they meet often. */
static char *some_path(void)
{
    static const char *const directories[] = {
        "etc",        "usr",      "usr/bin", "usr/lib",        "var/log",           "home/user",
        "opt",        "opt/many", "tmp",     "opt/many/below", "opt/many/below/it", "var/log/old",
        "etc/n0",     "etc/n1",   "opt/n0",  "opt/n0/n1",      "opt/many/n2",       "n0",
        "var/log/n1", "lib",      "usr/n2",  "usr/n2/below"};
    static const char *const names[] = {"n0",     "n1",         "n2",      "one",    "passwd",
                                        "shadow", "other-name", "bin",     "file-1", "file-2",
                                        "below",  "it",         "leaf",    "old",    "many",
                                        "su",     "third-name", "libx.so", "log"};

    return text_format("%s/%s", directories[number(sizeof directories / sizeof *directories)],
                       names[number(sizeof names / sizeof *names)]);
}

static void write_some(int root, const char *path)
{
    static char data[70000];
    static const int flags[] = {O_CREAT, O_TRUNC, O_APPEND, O_CREAT | O_EXCL};
    CLEANUP(close_fd)
    int fd =
        openat(root, path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags[number(4)], 0600);

    memset(data, (int)number(256), sizeof data);
    if (fd < 0)
        return;
    if (number(8) == 0)
        (void)!ftruncate(fd, (off_t)number(5000000));
    (void)!pwrite(fd, data, number(number(2) ? 100 : sizeof data),
                  (off_t)number(number(4) ? 10 : 3000000));
}

static void change_attributes(int root, const char *path)
{
    static const char *const names[] = {"trusted.a", "trusted.b", "trusted.c"};
    CLEANUP(free_ptr) char *object = text_format("/proc/self/fd/%d/%s", root, path);
    const char *name = names[number(3)];

    if (number(3) == 0)
        (void)!lremovexattr(object, name);
    else
        (void)!lsetxattr(object, name, "some value", number(11), 0);
}

static void make_node(int root, const char *path)
{
    switch (number(4)) {
    case 0:
        (void)!mknodat(root, path, S_IFIFO | 0600, 0);
        break;
    case 1:
        (void)!mknodat(root, path, S_IFSOCK | 0600, 0);
        break;
    case 2:
        (void)!mknodat(root, path, S_IFCHR | 0600, makedev(1, (unsigned)number(9) + 1));
        break;
    default:
        (void)!symlinkat(number(2) ? "/etc" : "n0", root, path);
    }
}

/* Links of what is no file come back apart. */
static void link_file(int root, const char *path, const char *other)
{
    struct stat st;

    if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
        (void)!linkat(root, path, root, other, 0);
}

static void change_once(int root)
{
    CLEANUP(free_ptr) char *path = some_path();
    CLEANUP(free_ptr) char *other = some_path();

    switch (number(16)) {
    case 0:
    case 1:
    case 2:
        write_some(root, path);
        break;
    case 3:
        (void)!unlinkat(root, path, 0);
        break;
    case 4:
        (void)directory_remove_all(root, path);
        break;
    case 5:
    case 6:
        (void)!mkdirat(root, path, (mode_t)number(01000));
        break;
    case 7:
    case 8:
    case 9:
        (void)!renameat(root, path, root, other);
        break;
    case 10:
        (void)!renameat2(root, path, root, other, RENAME_EXCHANGE);
        break;
    case 11:
        link_file(root, path, other);
        break;
    case 12:
        make_node(root, path);
        break;
    case 13:
        (void)!fchmodat(root, path, (mode_t)number(010000), 0);
        break;
    case 14:
        (void)!fchownat(root, path, (uid_t)number(3), (gid_t)number(3), AT_SYMLINK_NOFOLLOW);
        break;
    default:
        change_attributes(root, path);
    }
}

static void change(int root)
{
    uint64_t changes = 1 + number(number(2) ? 300 : 20);

    for (uint64_t i = 0; i < changes; i++)
        change_once(root);
}

static void test_random(void **state)
{
    unsigned tested = 0;

    (void)state;
    for (uint64_t i = 0; i < rounds; i++) {
        char *base = fixture_directory(64);

        now = seed + i;
        print_message("seed %" PRIu64 "\n", now);
        tested += fixture_round_trip(base, kinds[i % (sizeof kinds / sizeof *kinds)], change, NULL);
        fixture_directory_remove(base);
    }
    assert_true(tested > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    if (argc > 1)
        MUST(text_to_uint64(argv[1], &seed) == 0);
    if (argc > 2)
        MUST(text_to_uint64(argv[2], &rounds) == 0);
    if (!fixture_isolate())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
