/* SPDX-License-Identifier: Apache-2.0 */
#include "image/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/text.h"
#include "copy/file.h"
#include "copy/helper.h"
#include "copy/parallel.h"
#include "image/layout.h"
#include "image/manifest.h"
#include "image/tree.h"

enum {
    HELPER_BYTES = 32 * 1024 * 1024, /* less is not worth a process */
    HELPER_FILES = 8,
    SYNC_THREADS = 8, /* they only wait */
};

static bool same_stat(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int check_entry(const struct tree_entry *entry, dev_t device, struct error *error)
{
    json_t *name = json_string(entry->path);
    bool reserved = text_equal(entry->path, SNAPSHOT_MANIFEST) ||
                    text_equal(entry->path, SNAPSHOT_MANIFEST_SUM);
    bool known = entry->stat.st_dev == device &&
                 (S_ISREG(entry->stat.st_mode) || S_ISDIR(entry->stat.st_mode));

    json_decref(name);
    if (name && known && !reserved && manifest_path_is_sound(entry->path))
        return 0;
    return error_set(error, "snapshot-content", EINVAL, "'%s' can't be part of a snapshot (%s)",
                     name ? entry->path : "?",
                     reserved ? "the name is reserved"
                     : known  ? "its name is not allowed"
                              : "neither a regular file nor a directory");
}

/* Snapshots hold the memory of processes, secrets included. */
static int tighten(int directory, struct tree_entry *entry, struct error *error)
{
    mode_t mode = S_ISDIR(entry->stat.st_mode) ? 0700 : 0600;

    if ((entry->stat.st_mode & 07777) == mode)
        return 0;
    if (fchmodat(directory, entry->path, mode, 0) < 0 ||
        fstatat(directory, entry->path, &entry->stat, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set(error, "snapshot-write", errno, "Can't change the mode of '%s'",
                         entry->path);
    return 0;
}

static int compare_sealed(const void *a, const void *b)
{
    return strcmp(((const struct sealed_file *)a)->path, ((const struct sealed_file *)b)->path);
}

static void take_file(struct seal *seal, const struct seal *old, struct tree_entry *entry)
{
    struct sealed_file *file = &seal->files[seal->count++];
    const struct sealed_file *before = NULL;

    *file = (struct sealed_file){.path = STEAL_PTR(entry->path), .stat = entry->stat};
    seal->bytes += (uint64_t)entry->stat.st_size;
    if (old->count)
        before = bsearch(file, old->files, old->count, sizeof *file, compare_sealed);
    if (before && before->sealed && same_stat(&before->stat, &file->stat)) {
        file->digest = before->digest;
        file->sealed = true;
    }
}

static int take_tree(struct seal *seal, const struct seal *old, int directory, struct tree *tree,
                     struct error *error)
{
    struct stat top;

    if (fstat(directory, &top) < 0)
        return error_set(error, "snapshot-read", errno, "Can't look at the staging directory");
    seal->files = calloc(tree->count + 1, sizeof *seal->files);
    seal->directories = calloc(tree->count + 1, sizeof *seal->directories);
    if (!seal->files || !seal->directories)
        return error_set(error, "out-of-memory", ENOMEM, "Too many files in a snapshot");
    for (size_t i = 0; i < tree->count; i++) {
        struct tree_entry *entry = &tree->entries[i];
        int r = check_entry(entry, top.st_dev, error);

        if (r == 0)
            r = tighten(directory, entry, error);
        if (r < 0)
            return r;
        if (S_ISDIR(entry->stat.st_mode))
            seal->directories[seal->directory_count++] = STEAL_PTR(entry->path);
        else
            take_file(seal, old, entry);
    }
    return 0;
}

/* The files that need a checksum, in arrays as the copy engine wants them. */
struct sealing {
    struct copy_files files;
    struct copy_source plain; /* reads `files` */
    const char **paths;
    uint64_t *sizes;
    size_t *indexes; /* in the seal */
    size_t count;
    uint64_t bytes;
    unsigned threads;
    struct digest *digests; /* shared with the helper */
    atomic_size_t next_sync;
};

static void sealing_done(struct sealing *sealing)
{
    helper_memory_free(sealing->digests, sealing->count * sizeof *sealing->digests);
    free(sealing->paths);
    free(sealing->sizes);
    free(sealing->indexes);
}

static int sealing_prepare(struct sealing *sealing, const struct seal *seal, int directory)
{
    sealing->paths = calloc(seal->count + 1, sizeof *sealing->paths);
    sealing->sizes = calloc(seal->count + 1, sizeof *sealing->sizes);
    sealing->indexes = calloc(seal->count + 1, sizeof *sealing->indexes);
    if (!sealing->paths || !sealing->sizes || !sealing->indexes)
        return -ENOMEM;
    for (size_t i = 0; i < seal->count; i++) {
        if (seal->files[i].sealed)
            continue;
        sealing->paths[sealing->count] = seal->files[i].path;
        sealing->sizes[sealing->count] = (uint64_t)seal->files[i].stat.st_size;
        sealing->indexes[sealing->count] = i;
        sealing->bytes += sealing->sizes[sealing->count++];
    }
    sealing->files = (struct copy_files){.directory = directory, .paths = sealing->paths};
    sealing->plain = copy_source_files(&sealing->files);
    sealing->digests = helper_memory(sealing->count * sizeof *sealing->digests);
    return sealing->digests ? 0 : -ENOMEM;
}

/* Writing to the disk starts before the checksum does, so that the fsync after it waits less. */
static int begin_range(void *context, const struct copy_range *range, void **ret_cursor,
                       struct error *error)
{
    struct sealing *sealing = context;
    CLEANUP(close_fd)
    int fd = file_open_beneath(sealing->files.directory, sealing->paths[range->object],
                               O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);

    if (fd >= 0)
        (void)sync_file_range(fd, (off_t)range->offset, (off_t)range->length,
                              SYNC_FILE_RANGE_WRITE);
    return sealing->plain.operations->begin(sealing->plain.context, range, ret_cursor, error);
}

static int read_range(void *context, void *cursor, size_t object, uint64_t offset, void *buffer,
                      size_t length, struct error *error)
{
    struct sealing *sealing = context;

    return sealing->plain.operations->read(sealing->plain.context, cursor, object, offset, buffer,
                                           length, error);
}

static uint64_t zeros_of_range(void *context, void *cursor, size_t object, uint64_t offset,
                               uint64_t length)
{
    struct sealing *sealing = context;

    return sealing->plain.operations->zeros(sealing->plain.context, cursor, object, offset, length);
}

static void end_range(void *context, void *cursor)
{
    struct sealing *sealing = context;

    sealing->plain.operations->end(sealing->plain.context, cursor);
}

static int sync_path(int directory, const char *path, int flags, struct error *error)
{
    CLEANUP(close_fd)
    int fd = file_open_beneath(directory, path, flags | O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
    int number = fd < 0 ? -fd : 0;

    if (fd >= 0 && fsync(fd) < 0)
        number = errno;
    if (number)
        return error_set(error, snapshot_write_code(number), number, "Can't sync '%s'", path);
    return 0;
}

static int sync_files(void *context, unsigned index, const atomic_bool *stop, struct error *error)
{
    struct sealing *sealing = context;
    size_t next;

    (void)index;
    while (!atomic_load(stop) &&
           (next = atomic_fetch_add(&sealing->next_sync, 1)) < sealing->count) {
        int r = sync_path(sealing->files.directory, sealing->paths[next], 0, error);

        if (r < 0)
            return r;
    }
    return 0;
}

static int seal_work(void *context, const struct progress *progress, struct error *error)
{
    static const struct copy_source_operations operations = {
        .begin = begin_range, .read = read_range, .zeros = zeros_of_range, .end = end_range};
    struct sealing *sealing = context;
    struct copy_source source = {.operations = &operations, .context = sealing};
    unsigned sync_threads = sealing->threads > 1 ? SYNC_THREADS : 1;
    int r;

    r = digest_objects(&source, sealing->sizes, sealing->count, sealing->threads, progress,
                       sealing->digests, error);
    if (r < 0)
        return r;
    if (sync_threads > sealing->count)
        sync_threads = sealing->count ? (unsigned)sealing->count : 1;
    return parallel_run(sync_threads, sync_files, sealing, error);
}

static int seal_missing(struct seal *seal, int directory, unsigned threads,
                        const struct progress *progress, struct error *error)
{
    CLEANUP(sealing_done) struct sealing sealing = {0};
    int r = sealing_prepare(&sealing, seal, directory);

    if (r < 0)
        return error_set(error, "out-of-memory", r, "Too many files in a snapshot");
    sealing.threads = copy_threads(threads);
    if (sealing.bytes < HELPER_BYTES && sealing.count < HELPER_FILES)
        sealing.threads = 1;
    if (sealing.threads == 1)
        r = seal_work(&sealing, progress, error);
    else
        r = helper_run(seal_work, &sealing, progress, error);
    for (size_t i = 0; r == 0 && i < sealing.count; i++) {
        seal->files[sealing.indexes[i]].digest = sealing.digests[i];
        seal->files[sealing.indexes[i]].sealed = true;
    }
    return r;
}

int seal_update(struct seal *seal, int directory, unsigned threads, const struct progress *progress,
                struct error *error)
{
    CLEANUP(tree_done) struct tree tree = TREE_INIT;
    CLEANUP(seal_done) struct seal fresh = SEAL_INIT;
    struct seal old;
    int r = fault_point("image-seal", error);

    if (r == 0)
        r = tree_read(directory, &tree, error);
    if (r == 0)
        r = take_tree(&fresh, seal, directory, &tree, error);
    if (r == 0)
        r = seal_missing(&fresh, directory, threads, progress, error);
    if (r < 0)
        return r;
    old = *seal;
    *seal = fresh;
    fresh = old;
    return 0;
}

int seal_sync_directories(const struct seal *seal, int directory, struct error *error)
{
    for (size_t i = seal->directory_count; i > 0; i--) {
        int r = sync_path(directory, seal->directories[i - 1], O_DIRECTORY, error);

        if (r < 0)
            return r;
    }
    return sync_path(directory, ".", O_DIRECTORY, error);
}

json_t *seal_files_json(const struct seal *seal)
{
    json_t *files = json_array();

    for (size_t i = 0; i < seal->count; i++) {
        const struct sealed_file *file = &seal->files[i];
        char sum[DIGEST_HEX_LENGTH + 1];

        digest_to_hex(&file->digest, sum);
        (void)json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "path", file->path, "bytes",
                                                     (json_int_t)file->stat.st_size, "sum", sum));
    }
    return files;
}

json_t *seal_directories_json(const struct seal *seal)
{
    json_t *directories = json_array();

    for (size_t i = 0; i < seal->directory_count; i++)
        (void)json_array_append_new(directories, json_string(seal->directories[i]));
    return directories;
}

void seal_done(struct seal *seal)
{
    for (size_t i = 0; i < seal->count; i++)
        free(seal->files[i].path);
    for (size_t i = 0; i < seal->directory_count; i++)
        free(seal->directories[i]);
    free(seal->files);
    free(seal->directories);
    *seal = SEAL_INIT;
}
