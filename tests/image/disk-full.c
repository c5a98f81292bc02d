/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system that fills up at every possible moment of publishing: on a small tmpfs in a mount
 * namespace of this test's own, with a little more room each time, until it works.
 * Needs the right to mount; exits 77 (skipped) without.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "copy/file.h"
#include "fixture.h"
#include "image/snapshot.h"
#include "image/verify.h"

enum { PAGE = 4096, STEP_LIMIT = 400 };

static int complain(const char *what, const char *detail)
{
    (void)fprintf(stderr, "%s: %s\n", what, detail);
    return 1;
}

/* Takes all room but `pages` pages away. */
static int leave_room(const char *root, uint64_t pages)
{
    CLEANUP(free_ptr) char *path = text_format("%s/ballast", root);
    CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct statvfs space;

    if (fd < 0 || statvfs(root, &space) < 0)
        return -1;
    if (space.f_bfree <= pages)
        return -1;
    return posix_fallocate(fd, 0, (off_t)((space.f_bfree - pages) * space.f_bsize)) == 0 ? 0 : -1;
}

static int check_sound(const char *root)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    CLEANUP(verify_report_done) struct verify_report report = VERIFY_REPORT_INIT;

    return snapshot_open(root, "one", &snapshot, NULL) == 0 &&
                   snapshot_verify(snapshot, VERIFY_ALL, 1, &report, NULL, NULL) == 0 &&
                   report.count == 0
               ? 0
               : complain("published", "is not sound");
}

/* The files exist before the room goes, as after a dump that just fitted. */
static int publish_with(const char *root, uint64_t pages, struct error *error)
{
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = NULL;
    json_t *manifest;
    int r = snapshot_writer_begin(root, "one", NULL, &writer, error);

    if (r < 0)
        return r;
    for (int i = 0; i < 100; i++) {
        CLEANUP(free_ptr) char *name = text_format("a-file-with-a-long-name-%d", i);

        fixture_file(snapshot_writer_directory(writer), name, 10, 1);
    }
    if (leave_room(root, pages) < 0)
        return error_set(error, "system", errno, "Can't fill the file system");
    manifest = json_object();
    r = snapshot_writer_publish(writer, manifest, error);
    json_decref(manifest);
    return r;
}

static int test_publish(const char *root)
{
    CLEANUP(free_ptr) char *ballast = text_format("%s/ballast", root);
    int full = 0;

    for (uint64_t pages = 0; pages < STEP_LIMIT; pages++) {
        struct error error = ERROR_INIT;
        int r = publish_with(root, pages, &error);

        (void)unlink(ballast);
        if (r == 0)
            return full > 0 ? check_sound(root) : complain("published", "with no room at all");
        if (!error_is(&error, "disk-full"))
            return complain(error.code, error.message);
        if (fixture_count("%s", root) != 0)
            return complain("disk full", "something was left");
        error_done(&error);
        full++;
    }
    return complain("publish", "never worked");
}

static int test_begin(const char *root)
{
    CLEANUP(free_ptr) char *many = text_format("%s/many", root);
    CLEANUP(close_fd) int directory = -1;
    struct snapshot_writer *writer = NULL;
    struct error error = ERROR_INIT;
    int r;

    if (mkdir(many, 0700) < 0)
        return complain("mkdir", many);
    directory = open(many, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0;; i++) { /* inodes run out */
        CLEANUP(free_ptr) char *name = text_format("%d", i);
        CLEANUP(close_fd) int fd = openat(directory, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
            break;
    }
    r = snapshot_writer_begin(root, "two", NULL, &writer, &error);
    if (r >= 0 || !error_is(&error, "disk-full"))
        return complain("begin", r >= 0 ? "works without inodes" : error.message);
    error_done(&error);
    if (fixture_exists("%s/two", root))
        return complain("begin", "something was left");
    return directory_remove_all(AT_FDCWD, many) < 0;
}

static int test_copy(const char *root)
{
    static const char *const paths[] = {"big"};
    CLEANUP(close_fd) int to = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *other = fixture_root();
    CLEANUP(close_fd) int from = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct error error = ERROR_INIT;
    int r;

    fixture_file(from, "big", 20 * 1024 * 1024, 1);
    r = copy_beneath(from, to, paths, 1, 2, NULL, &error);
    if (r >= 0 || !error_is(&error, "disk-full"))
        return complain("copy", r >= 0 ? "fits" : error.message);
    error_done(&error);
    fixture_root_remove(other);
    return unlinkat(to, "big", 0) < 0;
}

int main(void)
{
    char *root = fixture_root();
    int r;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", root, "tmpfs", 0, "size=8m,nr_inodes=400") < 0) {
        perror("no small file system to fill");
        fixture_root_remove(root);
        return 77;
    }
    r = test_publish(root) || test_begin(root) || test_copy(root);
    if (umount2(root, MNT_DETACH) < 0)
        r = 1;
    fixture_root_remove(root);
    return r;
}
