/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "copy/helper.h"

/* A cursor is the descriptor plus one, so that it is never NULL. */
static void *cursor_of(int fd)
{
    return (void *)(intptr_t)(fd + 1);
}

static int fd_of(void *cursor)
{
    return (int)(intptr_t)cursor - 1;
}

const char *copy_write_code(int number, const char *code)
{
    int positive = number < 0 ? -number : number;

    return positive == ENOSPC || positive == EDQUOT ? "disk-full" : code;
}

static int fail_at(struct error *error, const char *code, int number, const char *what, int fd,
                   uint64_t offset)
{
    CLEANUP(free_ptr) char *path = fd_path(fd);

    return error_set(error, code, number, "Can't %s '%s' at byte %llu", what, path ? path : "?",
                     (unsigned long long)offset);
}

static int open_file(const struct copy_files *files, size_t object, int flags, void **ret_cursor)
{
    int fd = files->fds ? files->fds[object]
                        : file_open_beneath(files->directory, files->paths[object],
                                            flags | O_NOCTTY | O_NONBLOCK, 0);

    if (fd < 0)
        return fd;
    *ret_cursor = cursor_of(fd);
    return 0;
}

static void close_file_of(const struct copy_files *files, void *cursor)
{
    if (!files->fds)
        (void)close(fd_of(cursor));
}

static int source_begin(void *context, const struct copy_range *range, void **ret_cursor,
                        struct error *error)
{
    const struct copy_files *files = context;
    int r = open_file(files, range->object, O_RDONLY, ret_cursor);

    return r < 0 ? error_set(error, "copy-read", r, "Can't open '%s'",
                             files->fds ? "?" : files->paths[range->object])
                 : 0;
}

static int source_read(void *context, void *cursor, size_t object, uint64_t offset, void *buffer,
                       size_t length, struct error *error)
{
    char *next = buffer;
    int fd = fd_of(cursor);

    (void)context;
    (void)object;
    while (length > 0) {
        ssize_t n = pread(fd, next, length, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_at(error, "copy-read", errno, "read", fd, offset);
        if (n == 0)
            return fail_at(error, "copy-read", ENODATA, "read on in", fd, offset);
        next += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

static uint64_t source_zeros(void *context, void *cursor, size_t object, uint64_t offset,
                             uint64_t length)
{
    off_t data = lseek(fd_of(cursor), (off_t)offset, SEEK_DATA);
    struct stat st;
    uint64_t end = offset + length;

    (void)context;
    (void)object;
    if (data >= 0)
        return (uint64_t)data < end ? (uint64_t)data - offset : length;
    /* ENXIO: nothing but a hole up to the end of the file, or no such place in it. */
    if (errno != ENXIO || fstat(fd_of(cursor), &st) < 0 || (uint64_t)st.st_size < end)
        return 0;
    return length;
}

static void source_end(void *context, void *cursor)
{
    close_file_of(context, cursor);
}

struct copy_source copy_source_files(struct copy_files *files)
{
    static const struct copy_source_operations operations = {
        .begin = source_begin, .read = source_read, .zeros = source_zeros, .end = source_end};

    return (struct copy_source){.operations = &operations, .context = files};
}

static int sink_begin(void *context, const struct copy_range *range, void **ret_cursor,
                      struct error *error)
{
    const struct copy_files *files = context;
    int r = open_file(files, range->object, O_WRONLY, ret_cursor);

    return r < 0 ? error_set(error, "copy-write", r, "Can't open '%s'",
                             files->fds ? "?" : files->paths[range->object])
                 : 0;
}

static int sink_write(void *context, void *cursor, size_t object, uint64_t offset, const void *data,
                      size_t length, struct error *error)
{
    const char *next = data;
    int fd = fd_of(cursor);

    (void)context;
    (void)object;
    while (length > 0) {
        ssize_t n = pwrite(fd, next, length, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_at(error, copy_write_code(errno, "copy-write"), errno, "write", fd, offset);
        next += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

/* A new file reads as zero where nothing was written. */
static int sink_zero(void *context, void *cursor, size_t object, uint64_t offset, uint64_t length,
                     struct error *error)
{
    (void)context;
    (void)cursor;
    (void)object;
    (void)offset;
    (void)length;
    (void)error;
    return 0;
}

static int sink_end(void *context, void *cursor, const struct copy_range *range, bool complete,
                    struct error *error)
{
    (void)range;
    (void)complete;
    (void)error;
    close_file_of(context, cursor);
    return 0;
}

struct copy_sink copy_sink_files(struct copy_files *files)
{
    static const struct copy_sink_operations operations = {
        .begin = sink_begin, .write = sink_write, .zero = sink_zero, .end = sink_end};

    return (struct copy_sink){.operations = &operations, .context = files};
}

struct file_copy {
    struct copy_files from;
    struct copy_files to;
    uint64_t *sizes;
    size_t count;
    unsigned threads;
};

static int run_copy(void *context, const struct progress *progress, struct error *error)
{
    struct file_copy *copy = context;
    struct copy_job job = {.sizes = copy->sizes,
                           .count = copy->count,
                           .source = copy_source_files(&copy->from),
                           .sink = copy_sink_files(&copy->to),
                           .threads = copy->threads,
                           .progress = progress};

    return copy_run(&job, error);
}

static int regular_size(int fd, uint64_t *ret_size, struct error *error)
{
    CLEANUP(free_ptr) char *path = NULL;
    struct stat st;
    int number = EINVAL;

    if (fstat(fd, &st) < 0)
        number = errno;
    else if (S_ISREG(st.st_mode)) {
        *ret_size = (uint64_t)st.st_size;
        return 0;
    }
    path = fd_path(fd);
    return error_set(error, "copy-read", number, "'%s' can't be copied as a file",
                     path ? path : "?");
}

static int prepare_target(int fd, uint64_t size, struct error *error)
{
    if (ftruncate(fd, (off_t)size) < 0)
        return fail_at(error, copy_write_code(errno, "copy-write"), errno, "extend", fd, size);
    return 0;
}

static int prepare_path(int from, int to, const char *path, uint64_t *ret_size, struct error *error)
{
    CLEANUP(close_fd)
    int source = file_open_beneath(from, path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
    CLEANUP(close_fd) int target = -1;
    int r;

    if (source < 0)
        return error_set(error, "copy-read", source, "Can't open '%s'", path);
    r = regular_size(source, ret_size, error);
    if (r < 0)
        return r;
    target = file_open_beneath(to, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (target < 0)
        return error_set(error, copy_write_code(target, "copy-write"), target, "Can't make '%s'",
                         path);
    return prepare_target(target, *ret_size, error);
}

static int copy_prepared(struct file_copy *copy, const struct progress *progress,
                         struct error *error)
{
    copy->threads = copy_threads(copy->threads);
    if (copy->threads == 1)
        return run_copy(copy, progress, error);
    return helper_run(run_copy, copy, progress, error);
}

int copy_beneath(int from, int to, const char *const *paths, size_t count, unsigned threads,
                 const struct progress *progress, struct error *error)
{
    CLEANUP(free_ptr) uint64_t *sizes = calloc(count ? count : 1, sizeof *sizes);
    struct file_copy copy = {.from = {.directory = from, .paths = paths},
                             .to = {.directory = to, .paths = paths},
                             .sizes = sizes,
                             .count = count,
                             .threads = threads};

    if (!sizes)
        return error_set(error, "out-of-memory", ENOMEM, "Too many files to copy");
    for (size_t i = 0; i < count; i++) {
        int r = prepare_path(from, to, paths[i], &sizes[i], error);

        if (r < 0)
            return r;
    }
    return copy_prepared(&copy, progress, error);
}

int copy_descriptors(const int *from, const int *to, size_t count, unsigned threads,
                     const struct progress *progress, struct error *error)
{
    CLEANUP(free_ptr) uint64_t *sizes = calloc(count ? count : 1, sizeof *sizes);
    struct file_copy copy = {.from = {.fds = from},
                             .to = {.fds = to},
                             .sizes = sizes,
                             .count = count,
                             .threads = threads};

    if (!sizes)
        return error_set(error, "out-of-memory", ENOMEM, "Too many files to copy");
    for (size_t i = 0; i < count; i++) {
        int r = regular_size(from[i], &sizes[i], error);

        if (r == 0)
            r = prepare_target(to[i], sizes[i], error);
        if (r < 0)
            return r;
    }
    return copy_prepared(&copy, progress, error);
}
