/* SPDX-License-Identifier: Apache-2.0 */
#include "image/snapshot-writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "basic/clock.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/text.h"
#include "image/kept-names.h"
#include "image/layout.h"
#include "image/manifest.h"
#include "image/names.h"
#include "image/scratch.h"
#include "image/seal.h"

struct snapshot_writer {
    int root;
    int parent; /* <root>/<id> */
    int versions;
    int directory; /* holds the lock that says that this writer lives */
    char *id;
    const char *wanted; /* the version that was asked for, NULL: the next; valid in begin only */
    char *version;
    char *name; /* of the staging directory in `versions` */
    char *path;
    unsigned threads;
    bool published;
    struct seal seal;
};

static int refuse(struct error *error, int number, const char *what, const char *name)
{
    return error_set(error, snapshot_write_code(number), number, "Can't %s '%s'", what, name);
}

/* Makes and opens a directory; a descriptor, or a negative errno. */
static int make_directory(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    return file_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
}

static int open_root(struct snapshot_writer *writer, const char *root, struct error *error)
{
    int r = directory_create_all(root, 0700);

    if (r < 0)
        return refuse(error, r, "make the directory", root);
    writer->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (writer->root < 0)
        return refuse(error, errno, "open the directory", root);
    return 0;
}

static int open_versions(struct snapshot_writer *writer)
{
    close_fd(&writer->parent);
    close_fd(&writer->versions);
    writer->parent = make_directory(writer->root, writer->id);
    if (writer->parent < 0)
        return writer->parent;
    writer->versions = make_directory(writer->parent, "versions");
    return writer->versions < 0 ? writer->versions : 0;
}

/* Versions that other writers are making are taken, too. */
static int next_version(int versions, uint64_t *ret_version)
{
    CLEANUP(names_done) struct names names = NAMES_INIT;
    uint64_t latest = 0;
    int r = names_read(versions, &names);

    if (r == 0)
        r = snapshot_versions_latest(versions, &latest);
    if (r < 0)
        return r;
    for (size_t i = 0; i < names.count; i++) {
        struct scratch_name name;

        if (scratch_name_parse(names.names[i], &name) == 0 && name.kind == SCRATCH_STAGING &&
            name.version > latest)
            latest = name.version;
    }
    if (latest >= INT64_MAX)
        return -EOVERFLOW;
    *ret_version = latest + 1;
    return 0;
}

/* -EEXIST: the version that was asked for is there. */
static int choose_version(const struct snapshot_writer *writer, uint64_t *ret_version)
{
    if (!writer->wanted)
        return next_version(writer->versions, ret_version);
    if (faccessat(writer->versions, writer->wanted, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    return snapshot_version_parse(writer->wanted, ret_version);
}

static int make_staging(struct snapshot_writer *writer)
{
    struct scratch_name name;
    uint64_t version = 0;
    int r = choose_version(writer, &version);

    if (r < 0)
        return r;
    name = scratch_name_new(SCRATCH_STAGING, version);
    free(writer->name);
    free(writer->version);
    writer->name = scratch_name_format(&name);
    writer->version = text_format("%" PRIu64, version);
    if (mkdirat(writer->versions, writer->name, 0700) < 0) {
        r = -errno;
        free(STEAL_PTR(writer->name));
        return r;
    }
    writer->directory =
        openat(writer->versions, writer->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (writer->directory < 0)
        return -errno;
    /* Shared, so that it may be read while its writer still holds it. */
    (void)snapshot_lock(writer->directory, LOCK_SH | LOCK_NB);
    return 0;
}

/* -ENOENT: somebody has removed the empty directories meanwhile. */
static int reserve(struct snapshot_writer *writer)
{
    int r = open_versions(writer);

    if (r < 0)
        return r;
    (void)snapshot_lock(writer->versions, LOCK_EX);
    r = make_staging(writer);
    (void)snapshot_lock(writer->versions, LOCK_UN);
    return r;
}

static int begin(struct snapshot_writer *writer, const char *root, struct error *error)
{
    int r = open_root(writer, root, error);

    if (r < 0)
        return r;
    r = -ENOENT;
    for (int attempt = 0; r == -ENOENT && attempt < 100; attempt++)
        r = reserve(writer);
    if (r == -EEXIST)
        return error_set(error, "snapshot-exists", 0, "There is a snapshot '%s@%s' already",
                         writer->id, writer->wanted);
    if (r < 0) {
        CLEANUP(free_ptr) char *name = text_format("%s/%s/versions", root, writer->id);

        return refuse(error, r, "make a directory in", name);
    }
    scratch_clean(writer->versions);
    writer->path = fd_path(writer->directory);
    if (!writer->path)
        writer->path = text_format("%s/%s/versions/%s", root, writer->id, writer->name);
    return fault_point("image-begin", error);
}

int snapshot_writer_begin(const char *root, const char *id, const char *version,
                          struct snapshot_writer **ret_writer, struct error *error)
{
    struct snapshot_writer *writer;
    uint64_t number;
    int r = snapshot_id_check(id, error);

    if (r < 0)
        return r;
    if (version && snapshot_version_parse(version, &number) < 0)
        return error_set(error, "snapshot-id", EINVAL,
                         "'%s' is no version: a number from 1 on without leading zeros", version);
    writer = allocate(sizeof *writer);
    writer->root = writer->parent = writer->versions = writer->directory = -1;
    writer->id = text_copy(id);
    writer->wanted = version;
    r = begin(writer, root, error);
    writer->wanted = NULL;
    if (r < 0) {
        snapshot_writer_free(writer);
        return r;
    }
    *ret_writer = writer;
    return 0;
}

int snapshot_writer_directory(const struct snapshot_writer *writer)
{
    return writer->directory;
}

const char *snapshot_writer_path(const struct snapshot_writer *writer)
{
    return writer->path;
}

const char *snapshot_writer_id(const struct snapshot_writer *writer)
{
    return writer->id;
}

const char *snapshot_writer_version(const struct snapshot_writer *writer)
{
    return writer->version;
}

uint64_t snapshot_writer_bytes(const struct snapshot_writer *writer)
{
    return writer->seal.bytes;
}

int snapshot_writer_seal(struct snapshot_writer *writer, unsigned threads,
                         const struct progress *progress, struct error *error)
{
    writer->threads = threads;
    return seal_update(&writer->seal, writer->directory, threads, progress, error);
}

static json_t *checksum_json(void)
{
    return json_pack("{s:s, s:i}", "name", MANIFEST_CHECKSUM, "block", DIGEST_BLOCK);
}

/* The members that people look for first come first, the long lists last. */
static json_t *build_manifest(const struct snapshot_writer *writer, const json_t *given)
{
    static const char *const own[] = {"bytes", "checksum", "directories", "files"};
    const char *created = json_string_value(json_object_get(given, "created"));
    CLEANUP(free_ptr) char *now = clock_date();
    json_t *whole = json_pack("{s:i, s:s, s:s, s:s}", "format", MANIFEST_FORMAT, "id", writer->id,
                              "version", writer->version, "created", created ? created : now);
    json_t *copy = json_copy((json_t *)(uintptr_t)given); /* shallow: `given` stays as it is */

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        (void)json_object_del(copy, own[i]);
    (void)json_object_update_missing(whole, copy);
    json_decref(copy);
    (void)json_object_set_new(whole, "bytes", json_integer((json_int_t)writer->seal.bytes));
    (void)json_object_set_new(whole, "checksum", checksum_json());
    (void)json_object_set_new(whole, "directories", seal_directories_json(&writer->seal));
    (void)json_object_set_new(whole, "files", seal_files_json(&writer->seal));
    return whole;
}

/* What is published must be readable: so it is read here first. */
static int format_manifest(const struct snapshot_writer *writer, const json_t *given,
                           char **ret_text, struct error *error)
{
    json_t *whole = json_is_object(given) ? build_manifest(writer, given) : NULL;
    CLEANUP(free_ptr) char *text = whole ? json_dumps(whole, JSON_INDENT(1)) : NULL;
    struct manifest *manifest = NULL;
    int r;

    json_decref(whole);
    if (!text)
        return error_set(error, "snapshot-manifest", EINVAL, "The manifest can't be written");
    r = manifest_parse(text, strlen(text), &manifest, error);
    if (r < 0)
        return r;
    manifest_free(manifest);
    *ret_text = STEAL_PTR(text);
    return 0;
}

static int write_file(int directory, const char *name, const char *text, struct error *error)
{
    CLEANUP(close_fd)
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));

    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r < 0 ? refuse(error, r, "write", name) : 0;
}

static int write_manifest(struct snapshot_writer *writer, const json_t *given, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    CLEANUP(free_ptr) char *sum = NULL;
    int r = format_manifest(writer, given, &text, error);

    if (r == 0)
        r = fault_point("image-manifest", error);
    if (r == 0)
        r = write_file(writer->directory, SNAPSHOT_MANIFEST, text, error);
    if (r == 0)
        r = fault_point("image-sum", error);
    if (r < 0)
        return r;
    sum = manifest_sum(text, strlen(text));
    if (!sum)
        return error_set(error, "out-of-memory", ENOMEM, "No memory for a checksum");
    return write_file(writer->directory, SNAPSHOT_MANIFEST_SUM, sum, error);
}

/* NFS has no RENAME_NOREPLACE; but a rename never replaces a directory that isn't empty, and
 * versions never are. */
static int rename_new(int directory, const char *from, const char *to)
{
    if (renameat2(directory, from, directory, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    return renameat(directory, from, directory, to) < 0 ? -errno : 0;
}

static int sync_parents(struct snapshot_writer *writer, struct error *error)
{
    CLEANUP(close_fd) int above = openat(writer->root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fsync(writer->versions) < 0 || fsync(writer->parent) < 0 || fsync(writer->root) < 0)
        return refuse(error, errno, "sync the directories above", writer->path);
    if (above >= 0)
        (void)fsync(above);
    return 0;
}

static int publish_directory(struct snapshot_writer *writer, struct error *error)
{
    int r = fault_point("image-rename", error);

    if (r < 0)
        return r;
    r = rename_new(writer->versions, writer->name, writer->version);
    if (r == -EEXIST || r == -ENOTEMPTY)
        return error_set(error, "snapshot-exists", r, "Can't publish '%s@%s'", writer->id,
                         writer->version);
    if (r < 0)
        return refuse(error, r, "publish", writer->path);
    r = fault_point("image-published", error);
    if (r == 0)
        r = sync_parents(writer, error);
    if (r < 0) /* failure means that there is no snapshot */
        (void)rename_new(writer->versions, writer->version, writer->name);
    return r;
}

static int publish(struct snapshot_writer *writer, const json_t *manifest, struct error *error)
{
    int r = write_manifest(writer, manifest, error);

    if (r == 0)
        r = fault_point("image-sync", error);
    if (r == 0)
        r = seal_sync_directories(&writer->seal, writer->directory, error);
    return r == 0 ? publish_directory(writer, error) : r;
}

int snapshot_writer_publish(struct snapshot_writer *writer, const json_t *manifest,
                            struct error *error)
{
    char *path;
    int r = snapshot_writer_seal(writer, writer->threads, NULL, error);

    if (r < 0)
        return r;
    r = publish(writer, manifest, error);
    if (r < 0) {
        (void)unlinkat(writer->directory, SNAPSHOT_MANIFEST, 0);
        (void)unlinkat(writer->directory, SNAPSHOT_MANIFEST_SUM, 0);
        return r;
    }
    writer->published = true;
    path = fd_path(writer->directory);
    if (path) {
        free(writer->path);
        writer->path = path;
    }
    return 0;
}

static void take_back(struct snapshot_writer *writer)
{
    if (writer->published)
        return;
    if (writer->name)
        (void)kept_names_remove_with(writer->versions, writer->name);
    /* Goes only where nothing else is in it. */
    if (writer->parent >= 0 && unlinkat(writer->parent, "versions", AT_REMOVEDIR) == 0)
        (void)unlinkat(writer->root, writer->id, AT_REMOVEDIR);
}

void snapshot_writer_free(struct snapshot_writer *writer)
{
    if (!writer)
        return;
    take_back(writer);
    close_fd(&writer->directory);
    close_fd(&writer->versions);
    close_fd(&writer->parent);
    close_fd(&writer->root);
    seal_done(&writer->seal);
    free(writer->id);
    free(writer->version);
    free(writer->name);
    free(writer->path);
    free(writer);
}
