/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

#define MUST(condition)                                                               \
    do {                                                                              \
        if (!(condition)) {                                                           \
            (void)fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #condition); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

char *fixture_root(void)
{
    const char *base = getenv("TMPDIR");
    char *path = text_format("%s/image-test-XXXXXX", base ? base : "/tmp");

    MUST(mkdtemp(path));
    return path;
}

void fixture_root_remove(char *root)
{
    MUST(directory_remove_all(AT_FDCWD, root) == 0);
    free(root);
}

uint64_t fixture_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void fixture_fill(void *data, size_t length, uint64_t seed)
{
    unsigned char *bytes = data;

    for (size_t i = 0; i < length; i += 8) {
        uint64_t value = fixture_random(&seed);

        memcpy(bytes + i, &value, length - i < 8 ? length - i : 8);
    }
}

static int make_file(int directory, const char *path)
{
    int fd = openat(directory, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    MUST(fd >= 0);
    return fd;
}

void fixture_file(int directory, const char *path, size_t length, uint64_t seed)
{
    CLEANUP(close_fd) int fd = make_file(directory, path);
    CLEANUP(free_ptr) char *data = malloc(length + 1);

    MUST(data);
    fixture_fill(data, length, seed);
    MUST(file_write_all(fd, data, length) == 0);
}

void fixture_text(int directory, const char *path, const char *text)
{
    CLEANUP(close_fd) int fd = make_file(directory, path);

    MUST(file_write_all(fd, text, strlen(text)) == 0);
}

void fixture_directory(int directory, const char *path)
{
    MUST(mkdirat(directory, path, 0755) == 0);
}

void fixture_populate(int directory)
{
    fixture_directory(directory, "criu");
    fixture_directory(directory, "criu/deep");
    fixture_directory(directory, "empty");
    fixture_file(directory, "criu/core-1.img", 1234, 1);
    fixture_file(directory, "criu/pages-1.img", 300001, 2);
    fixture_file(directory, "criu/deep/file", 1, 3);
    fixture_file(directory, "criu/nothing", 0, 4);
    fixture_file(directory, "shm.tar", 65536, 5);
    fixture_file(directory, "root-process", 12, 6);
}

void fixture_snapshot(const char *root, const char *id, const char *created)
{
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = NULL;
    struct error error = ERROR_INIT;
    json_t *manifest = json_pack("{s:s, s:{s:i}}", "command", "sleep", "phases", "dump", 7);
    int r = snapshot_writer_begin(root, id, NULL, &writer, &error);

    MUST(r == 0);
    if (created)
        (void)json_object_set_new(manifest, "created", json_string(created));
    fixture_populate(snapshot_writer_directory(writer));
    r = snapshot_writer_publish(writer, manifest, &error);
    if (r < 0)
        (void)fprintf(stderr, "%s\n", error.message);
    MUST(r == 0);
    json_decref(manifest);
}

int fixture_count(const char *format, ...)
{
    CLEANUP(free_ptr) char *path = NULL;
    CLEANUP(close_directory) DIR *stream = NULL;
    va_list arguments;
    int count = 0;

    va_start(arguments, format);
    path = text_vformat(format, arguments);
    va_end(arguments);
    stream = opendir(path);
    if (!stream)
        return -1;
    while (readdir(stream))
        count++;
    return count - 2;
}

bool fixture_exists(const char *format, ...)
{
    CLEANUP(free_ptr) char *path = NULL;
    va_list arguments;
    struct stat st;

    va_start(arguments, format);
    path = text_vformat(format, arguments);
    va_end(arguments);
    return lstat(path, &st) == 0;
}

int fixture_child(int (*body)(const char *root), const char *root, const char *fault)
{
    int status = 0;
    pid_t pid = fork();

    MUST(pid >= 0);
    if (pid == 0) {
        MUST(setenv("STASIS_FAULT", fault, 1) == 0);
        _exit(body(root));
    }
    MUST(waitpid(pid, &status, 0) == pid);
    return status;
}
