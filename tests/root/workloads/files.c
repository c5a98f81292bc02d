/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files: offsets, flags, duplicates, append, directories, paths, high
 * numbers. The contents are not part of a snapshot, so a file may be newer than
 * the memory that knows of it, and keeps its size (CRIU compares it).
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

enum { SIZE = 64 * 1024, RECORD = 16, HIGH = 700 };

static struct {
    int data;
    int reader;
    int append;
    int directory;
    int path;
} s;

static int open_directory(void)
{
    char name[32];

    for (int i = 0; i < 5; i++) {
        int fd;

        (void)snprintf(name, sizeof(name), "entry-%d", i);
        PASS_ON(fd = make_file(name, 0, 0, O_RDWR));
        (void)close(fd);
    }
    MUST(s.directory = open(arguments.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open");
    return 0;
}

static int setup(void)
{
    PASS_ON(s.data = make_file("data", SIZE, 0, O_RDWR));
    MUST(dup2(s.data, HIGH), "dup2");
    MUST(s.reader = open(own_path("data").text, O_RDONLY | O_NOATIME | O_NONBLOCK), "open");
    MUST(lseek(s.reader, 4096, SEEK_SET), "lseek");
    PASS_ON(s.append = make_file("append", 0, 0, O_WRONLY | O_APPEND));
    MUST(s.path = open(own_path("data").text, O_PATH | O_CLOEXEC), "open O_PATH");
    return open_directory();
}

static int check_flags(void)
{
    EQUAL("access mode", O_RDWR, fcntl(s.data, F_GETFL) & O_ACCMODE);
    EQUAL("flags of the reader", O_NOATIME | O_NONBLOCK,
          fcntl(s.reader, F_GETFL) & (O_NOATIME | O_NONBLOCK));
    EQUAL("O_APPEND", O_APPEND, fcntl(s.append, F_GETFL) & O_APPEND);
    EQUAL("O_PATH", O_PATH, fcntl(s.path, F_GETFL) & O_PATH);
    EQUAL("close-on-exec", FD_CLOEXEC, fcntl(s.data, F_GETFD));
    EQUAL("no close-on-exec of the duplicate", 0, fcntl(HIGH, F_GETFD));
    return 0;
}

/* Record n - 1 was written last, and the offset is behind it. */
static int check_data(uint64_t n)
{
    uint64_t record[RECORD / 8] = {n, ~n};

    EQUAL("offset", (n - 1) * RECORD, lseek(s.data, 0, SEEK_CUR));
    EQUAL("offset of the duplicate", (n - 1) * RECORD, lseek(HIGH, 0, SEEK_CUR));
    MUST(write(HIGH, record, sizeof(record)), "write");
    MUST(pread(s.data, record, sizeof(record), (off_t)(n - 1) * RECORD), "pread");
    EQUAL("record read back", n, record[0]);
    EQUAL("offset of the reader", 4096 + (n - 1), lseek(s.reader, 0, SEEK_CUR));
    MUST(lseek(s.reader, 1, SEEK_CUR), "lseek");
    return 0;
}

static int check_append(uint64_t n)
{
    struct stat before;
    struct stat after;

    MUST(fstat(s.append, &before), "fstat");
    AT_LEAST("size of the appended file", (n - 1) * 8, before.st_size);
    MUST(write(s.append, &n, sizeof(n)), "write");
    MUST(fstat(s.append, &after), "fstat");
    EQUAL("size after appending", before.st_size + 8, after.st_size);
    return 0;
}

static int check_directory(void)
{
    struct stat one;
    struct stat other;
    int fd;

    MUST(fd = openat(s.directory, "data", O_RDONLY | O_CLOEXEC), "openat");
    MUST(fstat(fd, &one), "fstat");
    MUST(fstat(s.path, &other), "fstat");
    EQUAL("inode", one.st_ino, other.st_ino);
    (void)close(fd);
    return 0;
}

static int check(uint64_t n)
{
    PASS_ON(check_flags());
    PASS_ON(check_data(n));
    PASS_ON(check_append(n));
    return check_directory();
}

const struct workload_kind kind_files = {
    .name = "files",
    .description = "open files: offsets, flags, duplicates, append, directories, O_PATH",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
