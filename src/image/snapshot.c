/* SPDX-License-Identifier: Apache-2.0 */
#include "image/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "basic/file.h"
#include "basic/text.h"
#include "image/layout.h"
#include "image/manifest.h"

struct snapshot {
    int directory;
    char *path;
    char *id;
    char *version;
    struct manifest *manifest;
};

/* A regular file of the snapshot that is small enough. */
static int read_beneath(int directory, const char *name, size_t maximum, char **ret_data,
                        size_t *ret_length)
{
    CLEANUP(close_fd)
    int fd = file_open_beneath(directory, name, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
    CLEANUP(free_ptr) char *path = NULL;
    struct stat st;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    path = text_format("/proc/self/fd/%d", fd);
    return file_read(AT_FDCWD, path, maximum, ret_data, ret_length);
}

static int unreadable(const char *name, int number, struct error *error)
{
    bool damaged = number == -ENOENT || number == -EFBIG || number == -ELOOP || number == -EINVAL ||
                   number == -EXDEV || number == -ENOTDIR;

    return error_set(error, damaged ? "snapshot-damaged" : "snapshot-read", number,
                     "Can't read '%s'", name);
}

static int read_manifest(struct snapshot *snapshot, struct error *error)
{
    CLEANUP(free_ptr) char *data = NULL;
    CLEANUP(free_ptr) char *sum = NULL;
    CLEANUP(free_ptr) char *expected = NULL;
    size_t length = 0, sum_length = 0;
    int r;

    r = read_beneath(snapshot->directory, SNAPSHOT_MANIFEST, MANIFEST_BYTES_MAXIMUM, &data,
                     &length);
    if (r < 0)
        return unreadable(SNAPSHOT_MANIFEST, r, error);
    r = read_beneath(snapshot->directory, SNAPSHOT_MANIFEST_SUM, 4096, &sum, &sum_length);
    if (r < 0)
        return unreadable(SNAPSHOT_MANIFEST_SUM, r, error);
    expected = manifest_sum(data, length);
    if (!expected)
        return error_set(error, "out-of-memory", ENOMEM, "No memory for a checksum");
    if (sum_length != strlen(expected) || memcmp(sum, expected, sum_length) != 0) {
        (void)error_set(error, "snapshot-damaged", 0, "'%s' does not match '%s'", SNAPSHOT_MANIFEST,
                        SNAPSHOT_MANIFEST_SUM);
        return -EBADMSG;
    }
    return manifest_parse(data, length, &snapshot->manifest, error);
}

/* Consumes `fd`. */
static int open_directory(int fd, const char *id, const char *version,
                          struct snapshot **ret_snapshot, struct error *error)
{
    struct snapshot *snapshot = allocate(sizeof *snapshot);
    int r;

    snapshot->directory = fd;
    snapshot->path = fd_path(fd);
    if (!snapshot->path)
        snapshot->path = text_format("/proc/self/fd/%d", fd);
    r = read_manifest(snapshot, error);
    if (r < 0) {
        (void)error_wrap(error, r, "%s", snapshot->path);
        snapshot_free(snapshot);
        return r;
    }
    snapshot->id = text_copy(id ? id : snapshot->manifest->id);
    snapshot->version = text_copy(version ? version : snapshot->manifest->version);
    *ret_snapshot = snapshot;
    return 0;
}

static int missing(const char *root, const char *id, const char *version, struct error *error)
{
    return error_set(error, "snapshot-missing", ENOENT, "There is no snapshot '%s%s%s' in '%s'", id,
                     version ? "@" : "", version ? version : "", root);
}

/* Shares the lock of a version's directory; -ENOENT when it has just been deleted. */
static int open_locked(int versions, const char *version)
{
    CLEANUP(close_fd) int fd = file_open_beneath(versions, version, O_RDONLY | O_DIRECTORY, 0);
    struct stat opened, named;

    if (fd < 0)
        return fd;
    if (!snapshot_lock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK)
        return -ENOENT;
    if (fstat(fd, &opened) < 0 || fstatat(versions, version, &named, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (opened.st_ino != named.st_ino || opened.st_dev != named.st_dev)
        return -ENOENT;
    return steal_fd(&fd);
}

static int find_version(int versions, const char *root, const char *id, char **version,
                        struct error *error)
{
    uint64_t latest = 0;
    int r;

    if (*version)
        return 0;
    r = snapshot_versions_latest(versions, &latest);
    if (r < 0)
        return error_set(error, "snapshot-read", r, "Can't list the versions of '%s'", id);
    if (latest == 0)
        return missing(root, id, NULL, error);
    *version = text_format("%" PRIu64, latest);
    return 0;
}

int snapshot_open(const char *root, const char *reference, struct snapshot **ret_snapshot,
                  struct error *error)
{
    CLEANUP(free_ptr) char *id = NULL;
    CLEANUP(free_ptr) char *version = NULL;
    CLEANUP(close_fd) int versions = -1;
    int r = snapshot_reference_parse(reference, &id, &version, error);

    if (r < 0)
        return r;
    versions = snapshot_versions_open(root, id, error);
    if (versions < 0)
        return versions;
    r = find_version(versions, root, id, &version, error);
    if (r < 0)
        return r;
    r = open_locked(versions, version);
    if (r == -ENOENT)
        return missing(root, id, version, error);
    if (r == -ENOTDIR || r == -ELOOP)
        return error_set(error, "snapshot-damaged", r, "'%s/%s/versions/%s' is not a directory",
                         root, id, version);
    if (r < 0)
        return error_set(error, "snapshot-read", r, "Can't open '%s/%s/versions/%s'", root, id,
                         version);
    return open_directory(r, id, version, ret_snapshot, error);
}

int snapshot_open_path(const char *path, struct snapshot **ret_snapshot, struct error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return error_set(error, errno == ENOENT ? "snapshot-missing" : "snapshot-read", errno,
                         "Can't open '%s'", path);
    (void)snapshot_lock(fd, LOCK_SH | LOCK_NB);
    return open_directory(fd, NULL, NULL, ret_snapshot, error);
}

const char *snapshot_path(const struct snapshot *snapshot)
{
    return snapshot->path;
}

int snapshot_directory(const struct snapshot *snapshot)
{
    return snapshot->directory;
}

const char *snapshot_id(const struct snapshot *snapshot)
{
    return snapshot->id;
}

const char *snapshot_version(const struct snapshot *snapshot)
{
    return snapshot->version;
}

const char *snapshot_created(const struct snapshot *snapshot)
{
    return snapshot->manifest->created;
}

uint64_t snapshot_bytes(const struct snapshot *snapshot)
{
    return snapshot->manifest->bytes;
}

const json_t *snapshot_manifest(const struct snapshot *snapshot)
{
    return snapshot->manifest->json;
}

const struct manifest *snapshot_contents(const struct snapshot *snapshot)
{
    return snapshot->manifest;
}

int snapshot_open_file(const struct snapshot *snapshot, const char *path)
{
    CLEANUP(close_fd) int fd = -1;
    struct stat st;

    if (!manifest_find(snapshot->manifest, path))
        return -ENOENT;
    fd = file_open_beneath(snapshot->directory, path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? steal_fd(&fd) : -EINVAL;
}

void snapshot_free(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    close_fd(&snapshot->directory);
    manifest_free(snapshot->manifest);
    free(snapshot->path);
    free(snapshot->id);
    free(snapshot->version);
    free(snapshot);
}
