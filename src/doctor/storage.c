/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "doctor/machine.h"
#include "doctor/small-file.h"

#define TMPFS_TYPE 0x01021994
#define NFS_TYPE 0x6969

enum { BLOCK = 8 << 20, BLOCKS = 32 };

static const uint64_t least_room = UINT64_C(1) << 30;

/* `root`, or the nearest directory above it that exists: there it would be made. */
static char *existing_directory(const char *root)
{
    char *path = text_copy(root);

    while (access(path, F_OK) < 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');

        if (!slash) {
            free(path);
            return text_copy(".");
        }
        slash[slash == path] = 0;
    }
    return path;
}

static void examine_type(const char *root, const char *path, struct findings *findings)
{
    struct statfs fs;

    if (statfs(path, &fs) < 0)
        return;
    if (fs.f_type == TMPFS_TYPE)
        findings_add(findings, "storage-type", FINDING_NOTE,
                     "%s is in memory (tmpfs): fastest, but gone after a restart", root);
    else if (fs.f_type == NFS_TYPE)
        findings_add(findings, "storage-type", FINDING_NOTE, "%s is on a network (NFS)", root);
}

static void examine_room(const char *root, const char *path, struct findings *findings)
{
    CLEANUP(free_ptr) char *room = NULL;
    CLEANUP(free_ptr) char *memory = NULL;
    long long kilobytes = small_file_number("/proc/meminfo", "MemTotal");
    uint64_t total = kilobytes > 0 ? (uint64_t)kilobytes * 1024 : 0, bytes;
    enum finding_level level = FINDING_OK;
    struct statvfs fs;

    if (statvfs(path, &fs) < 0)
        return;
    bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (bytes < least_room)
        level = FINDING_WARNING;
    else if (bytes < total)
        level = FINDING_NOTE;
    room = text_bytes(bytes);
    memory = text_bytes(total);
    findings_add(findings, "disk-space", level, "%s free below %s (the machine has %s of memory)",
                 room, root, memory);
}

void examine_storage(const char *root, struct findings *findings)
{
    CLEANUP(free_ptr) char *path = existing_directory(root);

    if (access(path, R_OK | W_OK | X_OK) < 0) {
        if (geteuid() != 0)
            return; /* said once: this is not root */
        findings_add(findings, "storage", FINDING_FAILURE, "Can't write to %s: %s", path,
                     strerror(errno));
        return;
    }
    findings_add(findings, "storage", FINDING_OK, "%s %s", root,
                 text_equal(root, path) ? "can be written to" : "can be made");
    examine_type(root, path, findings);
    examine_room(root, path, findings);
}

/* A file without a name; where the file system has no such thing, one that loses it at once. */
static int open_nameless(const char *directory, int flags)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
    CLEANUP(free_ptr) char *path = NULL;

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd < 0 ? -errno : fd;
    path = text_format("%s/.speed-%d", directory, (int)getpid());
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return -errno;
    (void)unlink(path);
    return fd;
}

static int write_blocks(int fd, char *block, double *ret_rate)
{
    uint64_t start = clock_now_usec();

    for (int i = 0; i < BLOCKS; i++) {
        int r;

        memcpy(block, &i, sizeof i); /* no two blocks are alike */
        r = file_write_all(fd, block, BLOCK);
        if (r < 0)
            return r;
    }
    if (fdatasync(fd) < 0)
        return -errno;
    *ret_rate = (double)BLOCK * BLOCKS / clock_seconds_since(start);
    return 0;
}

static int read_blocks(int fd, char *block, double *ret_rate)
{
    uint64_t start;
    ssize_t n;

    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    start = clock_now_usec();
    while ((n = read(fd, block, BLOCK)) > 0) {
        /* only the time counts */
    }
    if (n < 0)
        return -errno;
    *ret_rate = (double)BLOCK * BLOCKS / clock_seconds_since(start);
    return 0;
}

static int measure(int fd, struct machine_speed *speed)
{
    CLEANUP(free_ptr) void *block = NULL;
    uint64_t state = 88172645463325252u;
    int r;

    if (posix_memalign(&block, 4096, BLOCK) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < BLOCK / sizeof state; i++) { /* xorshift: nothing to compress */
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((uint64_t *)block)[i] = state;
    }
    r = write_blocks(fd, block, &speed->write);
    return r < 0 ? r : read_blocks(fd, block, &speed->read);
}

void examine_speed(const char *root, struct findings *findings, struct machine_speed *ret_speed)
{
    CLEANUP(free_ptr) char *path = existing_directory(root);
    struct machine_speed speed = {0};
    bool direct = true;
    int fd = open_nameless(path, O_DIRECT), r;

    if (fd == -EINVAL) {
        direct = false;
        fd = open_nameless(path, 0);
    }
    r = fd < 0 ? fd : measure(fd, &speed);
    close_fd(&fd);
    if (r < 0) {
        findings_add(findings, "disk-speed", FINDING_WARNING, "Can't measure below %s: %s", path,
                     strerror(-r));
        return;
    }
    *ret_speed = speed;
    findings_add(findings, "disk-speed", speed.read < 200e6 ? FINDING_WARNING : FINDING_OK,
                 "Below %s: writes %.0f MB/s, reads %.0f MB/s (one stream, %s)", root,
                 speed.write / 1e6, speed.read / 1e6,
                 direct ? "past the page cache" : "through the page cache");
}
