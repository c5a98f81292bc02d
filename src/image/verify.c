/* SPDX-License-Identifier: Apache-2.0 */
#include "image/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "basic/file.h"
#include "basic/text.h"
#include "copy/file.h"
#include "copy/helper.h"
#include "image/layout.h"
#include "image/manifest.h"
#include "image/tree.h"

enum {
    BULK_BYTES = 16 * 1024 * 1024,
    HELPER_BYTES = 32 * 1024 * 1024, /* less is not worth a process */
};

struct verification {
    const struct snapshot *snapshot;
    struct verify_report report; /* what names and sizes have told */
    struct helper *helper;

    /* The files whose contents are looked at, as the copy engine wants them. */
    struct copy_files files;
    struct copy_source plain;
    const struct manifest_file **entries;
    const char **paths;
    uint64_t *sizes;
    size_t count;
    uint64_t bytes;
    unsigned threads;
    atomic_int *failures; /* errno of each that can't be read; with `digests` behind it, shared */
    struct digest *digests;
    size_t shared;
};

const char *verify_kind_name(enum verify_kind kind)
{
    static const char *const names[] = {
        [VERIFY_DAMAGED] = "damaged",       [VERIFY_MISSING] = "missing",
        [VERIFY_FOREIGN] = "foreign",       [VERIFY_WRONG_SIZE] = "wrong-size",
        [VERIFY_UNREADABLE] = "unreadable",
    };

    return names[kind];
}

static int add_finding(struct verify_report *report, enum verify_kind kind, const char *path,
                       char *text)
{
    struct verify_finding *grown = report->findings;

    /* Capacity: the next power of two. */
    if ((report->count & (report->count - 1)) == 0)
        grown = realloc(report->findings, (report->count ? report->count * 2 : 1) * sizeof *grown);
    if (!grown) {
        free(text);
        return -ENOMEM;
    }
    report->findings = grown;
    grown[report->count++] =
        (struct verify_finding){.kind = kind, .path = text_copy(path), .text = text};
    return 0;
}

/* Archives of files are brought into a container before CRIU starts. */
static bool is_bulk(const struct manifest_file *file)
{
    if (text_ends_with(file->path, ".tar"))
        return false;
    return file->bytes > BULK_BYTES ||
           (text_starts_with(file->path, "criu/pages-") && text_ends_with(file->path, ".img"));
}

static bool is_reserved(const char *path)
{
    return text_equal(path, SNAPSHOT_MANIFEST) || text_equal(path, SNAPSHOT_MANIFEST_SUM);
}

static const char *kind_of(mode_t mode)
{
    if (S_ISLNK(mode))
        return "a symbolic link";
    if (S_ISDIR(mode))
        return "a directory";
    return S_ISREG(mode) ? "a file" : "neither a file nor a directory";
}

static int check_entry(const struct manifest *manifest, const struct tree_entry *entry,
                       dev_t device, struct verify_report *report)
{
    const struct manifest_file *file = manifest_find(manifest, entry->path);
    bool directory = manifest_has_directory(manifest, entry->path);

    if (is_reserved(entry->path))
        return 0;
    if (directory && tree_is_directory(entry, device))
        return 0;
    if (directory || (file && (!S_ISREG(entry->stat.st_mode) || entry->stat.st_dev != device)))
        return add_finding(report, VERIFY_FOREIGN, entry->path,
                           text_format("is %s, was %s", kind_of(entry->stat.st_mode),
                                       directory ? "a directory" : "a file"));
    if (!file)
        return add_finding(
            report, VERIFY_FOREIGN, entry->path,
            text_format("%s that does not belong here", kind_of(entry->stat.st_mode)));
    if ((uint64_t)entry->stat.st_size != file->bytes)
        return add_finding(report, VERIFY_WRONG_SIZE, entry->path,
                           text_format("is %lld bytes long, was %" PRIu64,
                                       (long long)entry->stat.st_size, file->bytes));
    return 0;
}

static const struct tree_entry *find_entry(const struct tree *tree, const char *path)
{
    size_t low = 0, high = tree->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(tree->entries[middle].path, path);

        if (order == 0)
            return &tree->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int check_missing(const struct manifest *manifest, const struct tree *tree,
                         struct verify_report *report)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < manifest->file_count; i++) {
        if (!find_entry(tree, manifest->files[i].path))
            r = add_finding(report, VERIFY_MISSING, manifest->files[i].path,
                            text_copy("is not there"));
    }
    for (size_t i = 0; r == 0 && i < manifest->directory_count; i++) {
        if (!find_entry(tree, manifest->directories[i]))
            r = add_finding(report, VERIFY_MISSING, manifest->directories[i],
                            text_copy("a directory that is not there"));
    }
    return r;
}

static int check_tree(struct verification *verification, const struct tree *tree, dev_t device)
{
    const struct manifest *manifest = snapshot_contents(verification->snapshot);
    int r = 0;

    for (size_t i = 0; r == 0 && i < tree->count; i++)
        r = check_entry(manifest, &tree->entries[i], device, &verification->report);
    return r == 0 ? check_missing(manifest, tree, &verification->report) : r;
}

/* Whether the contents of a file can be looked at: the rest was found by check_tree. */
static bool is_readable(const struct tree *tree, const struct manifest_file *file, dev_t device)
{
    const struct tree_entry *entry = find_entry(tree, file->path);

    return entry && S_ISREG(entry->stat.st_mode) && entry->stat.st_dev == device &&
           (uint64_t)entry->stat.st_size == file->bytes;
}

static int select_files(struct verification *verification, const struct tree *tree, dev_t device,
                        enum verify_scope scope)
{
    const struct manifest *manifest = snapshot_contents(verification->snapshot);
    size_t count = manifest->file_count + 1;

    verification->entries = calloc(count, sizeof *verification->entries);
    verification->paths = calloc(count, sizeof *verification->paths);
    verification->sizes = calloc(count, sizeof *verification->sizes);
    if (!verification->entries || !verification->paths || !verification->sizes)
        return -ENOMEM;
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct manifest_file *file = &manifest->files[i];

        if ((scope != VERIFY_ALL && is_bulk(file) != (scope == VERIFY_BULK)) ||
            !is_readable(tree, file, device))
            continue;
        verification->entries[verification->count] = file;
        verification->paths[verification->count] = file->path;
        verification->sizes[verification->count++] = file->bytes;
        verification->bytes += file->bytes;
    }
    verification->shared =
        verification->count * (sizeof *verification->failures + sizeof *verification->digests);
    verification->failures = helper_memory(verification->shared);
    verification->digests =
        verification->failures ? (void *)(verification->failures + verification->count) : NULL;
    return verification->failures ? 0 : -ENOMEM;
}

/* A source that goes on when a file can't be read, and remembers it. */
static int begin_range(void *context, const struct copy_range *range, void **ret_cursor,
                       struct error *error)
{
    struct verification *verification = context;
    int r;

    (void)error;
    r = verification->plain.operations->begin(verification->plain.context, range, ret_cursor, NULL);
    if (r < 0) {
        atomic_store(&verification->failures[range->object], -r);
        *ret_cursor = NULL;
    }
    return 0;
}

static int read_range(void *context, void *cursor, size_t object, uint64_t offset, void *buffer,
                      size_t length, struct error *error)
{
    struct verification *verification = context;
    int r = -EIO;

    (void)error;
    if (cursor)
        r = verification->plain.operations->read(verification->plain.context, cursor, object,
                                                 offset, buffer, length, NULL);
    if (r < 0 && cursor)
        atomic_store(&verification->failures[object], -r);
    if (r < 0)
        memset(buffer, 0, length);
    return 0;
}

static uint64_t zeros_of_range(void *context, void *cursor, size_t object, uint64_t offset,
                               uint64_t length)
{
    struct verification *verification = context;

    /* What was not opened needs no reading either. */
    if (!cursor)
        return length;
    return verification->plain.operations->zeros(verification->plain.context, cursor, object,
                                                 offset, length);
}

static void end_range(void *context, void *cursor)
{
    struct verification *verification = context;

    if (cursor)
        verification->plain.operations->end(verification->plain.context, cursor);
}

static int verify_work(void *context, const struct progress *progress, struct error *error)
{
    static const struct copy_source_operations operations = {
        .begin = begin_range, .read = read_range, .zeros = zeros_of_range, .end = end_range};
    struct verification *verification = context;
    struct copy_source source = {.operations = &operations, .context = verification};

    return digest_objects(&source, verification->sizes, verification->count, verification->threads,
                          progress, verification->digests, error);
}

static int compare_findings(const void *a, const void *b)
{
    return strcmp(((const struct verify_finding *)a)->path,
                  ((const struct verify_finding *)b)->path);
}

static int conclude(struct verification *verification)
{
    struct verify_report *report = &verification->report;
    int r = 0;

    for (size_t i = 0; r == 0 && i < verification->count; i++) {
        const struct manifest_file *file = verification->entries[i];
        int failure = atomic_load(&verification->failures[i]);

        if (failure)
            r = add_finding(report, VERIFY_UNREADABLE, file->path,
                            text_format("can't be read: %s", strerror(failure)));
        else if (!digest_equal(&file->digest, &verification->digests[i]))
            r = add_finding(report, VERIFY_DAMAGED, file->path,
                            text_copy("does not match its checksum"));
    }
    report->files = verification->count;
    report->bytes = verification->bytes;
    if (report->count)
        qsort(report->findings, report->count, sizeof *report->findings, compare_findings);
    return r;
}

static int prepare(struct verification *verification, enum verify_scope scope, struct error *error)
{
    int directory = snapshot_directory(verification->snapshot);
    CLEANUP(tree_done) struct tree tree = TREE_INIT;
    struct stat top;
    int r = tree_read(directory, &tree, error);

    if (r < 0)
        return r;
    if (fstat(directory, &top) < 0)
        return error_set(error, "snapshot-read", errno, "Can't look at the snapshot's directory");
    if (scope != VERIFY_BULK)
        r = check_tree(verification, &tree, top.st_dev);
    if (r == 0)
        r = select_files(verification, &tree, top.st_dev, scope);
    if (r < 0)
        return error_set(error, "out-of-memory", r, "The snapshot has too many files");
    verification->files = (struct copy_files){.directory = directory, .paths = verification->paths};
    verification->plain = copy_source_files(&verification->files);
    return 0;
}

static int verification_new(const struct snapshot *snapshot, enum verify_scope scope,
                            unsigned threads, struct verification **ret_verification,
                            struct error *error)
{
    struct verification *verification = allocate(sizeof *verification);
    int r;

    verification->snapshot = snapshot;
    verification->threads = copy_threads(threads);
    r = prepare(verification, scope, error);
    if (r < 0) {
        snapshot_verify_free(verification);
        return r;
    }
    *ret_verification = verification;
    return 0;
}

static int take_report(struct verification *verification, struct verify_report *ret_report,
                       struct error *error)
{
    int r = conclude(verification);

    if (r < 0)
        return error_set(error, "out-of-memory", r, "Too many findings");
    *ret_report = verification->report;
    verification->report = VERIFY_REPORT_INIT;
    return 0;
}

int snapshot_verify(const struct snapshot *snapshot, enum verify_scope scope, unsigned threads,
                    struct verify_report *ret_report, const struct progress *progress,
                    struct error *error)
{
    CLEANUP(free_verification) struct verification *verification = NULL;
    int r = verification_new(snapshot, scope, threads, &verification, error);

    if (r < 0)
        return r;
    if (verification->bytes < HELPER_BYTES)
        verification->threads = 1;
    if (verification->threads == 1)
        r = verify_work(verification, progress, error);
    else
        r = helper_run(verify_work, verification, progress, error);
    return r < 0 ? r : take_report(verification, ret_report, error);
}

int snapshot_verify_start(const struct snapshot *snapshot, enum verify_scope scope,
                          unsigned threads, struct verification **ret_verification,
                          struct error *error)
{
    CLEANUP(free_verification) struct verification *verification = NULL;
    int r = verification_new(snapshot, scope, threads, &verification, error);

    if (r < 0)
        return r;
    r = helper_start(verify_work, verification, false, &verification->helper, error);
    if (r < 0)
        return r;
    *ret_verification = STEAL_PTR(verification);
    return 0;
}

int snapshot_verify_fd(const struct verification *verification)
{
    return helper_fd(verification->helper);
}

int snapshot_verify_finish(struct verification *verification, struct verify_report *ret_report,
                           struct error *error)
{
    int r = helper_finish(verification->helper, NULL, error);

    return r < 0 ? r : take_report(verification, ret_report, error);
}

void snapshot_verify_free(struct verification *verification)
{
    if (!verification)
        return;
    helper_free(verification->helper);
    verify_report_done(&verification->report);
    helper_memory_free(verification->failures, verification->shared);
    free(verification->entries);
    free(verification->paths);
    free(verification->sizes);
    free(verification);
}

int verify_report_check(const struct verify_report *report, struct error *error)
{
    const struct verify_finding *first = report->findings;

    if (report->count == 0)
        return 0;
    if (report->count == 1)
        (void)error_set(error, "snapshot-damaged", 0, "'%s' %s (%s)", first->path, first->text,
                        verify_kind_name(first->kind));
    else
        (void)error_set(error, "snapshot-damaged", 0, "'%s' %s (%s), and %zu more", first->path,
                        first->text, verify_kind_name(first->kind), report->count - 1);
    return -EBADMSG;
}

void verify_report_done(struct verify_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->findings[i].path);
        free(report->findings[i].text);
    }
    free(report->findings);
    *report = VERIFY_REPORT_INIT;
}
