/* SPDX-License-Identifier: Apache-2.0 */
#include "image/manifest.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/json-shape.h"
#include "basic/text.h"
#include "image/layout.h"

static int invalid(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int invalid(struct error *error, const char *format, ...)
{
    CLEANUP(free_ptr) char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    (void)error_set(error, "snapshot-manifest", 0, "The manifest is not valid: %s", text);
    return -EBADMSG;
}

/* Bounds what the JSON reader will allocate, before it does. */
static int check_shape(const char *data, size_t length, struct error *error)
{
    if (length > MANIFEST_BYTES_MAXIMUM)
        return invalid(error, "it has %zu bytes", length);
    switch (json_shape(data, length, MANIFEST_DEPTH_MAXIMUM, MANIFEST_VALUES_MAXIMUM)) {
    case JSON_SHAPE_DEEP:
        return invalid(error, "it is nested too deeply");
    case JSON_SHAPE_LARGE:
        return invalid(error, "it has too many values");
    case JSON_SHAPE_SOUND:
        break;
    }
    return 0;
}

bool manifest_path_is_sound(const char *path)
{
    if (strlen(path) >= PATH_MAX)
        return false;
    for (;;) {
        size_t length = strcspn(path, "/");

        if (length == 0 || length > NAME_MAX || (length == 1 && path[0] == '.') ||
            (length == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        if (!path[length])
            return true;
        path += length + 1;
    }
}

static bool path_is_allowed(const char *path)
{
    return path && manifest_path_is_sound(path) && !text_equal(path, SNAPSHOT_MANIFEST) &&
           !text_equal(path, SNAPSHOT_MANIFEST_SUM);
}

/* "2026-11-21T10:11:12Z" */
static bool is_date(const char *text)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";

    if (!text || strlen(text) != sizeof form - 1)
        return false;
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return false;
    }
    return true;
}

static const char *member_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static int member_size(const json_t *object, const char *name, uint64_t *ret_value)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return -EINVAL;
    *ret_value = (uint64_t)json_integer_value(value);
    return 0;
}

static int check_format(const json_t *json, struct error *error)
{
    const json_t *format = json_object_get(json, "format");

    if (!json_is_integer(format) || json_integer_value(format) < 1)
        return invalid(error, "it has no format number");
    if (json_integer_value(format) == MANIFEST_FORMAT)
        return 0;
    (void)error_set(error, "snapshot-version", 0,
                    "The snapshot has format %lld; this program (%s) reads format %d",
                    (long long)json_integer_value(format), STASIS_VERSION, MANIFEST_FORMAT);
    return -EPROTONOSUPPORT;
}

static int read_identity(struct manifest *manifest, struct error *error)
{
    const json_t *checksum = json_object_get(manifest->json, "checksum");
    uint64_t version = 0, block = 0;

    manifest->id = member_text(manifest->json, "id");
    manifest->version = member_text(manifest->json, "version");
    manifest->created = member_text(manifest->json, "created");
    if (!manifest->id || snapshot_id_check(manifest->id, NULL) < 0)
        return invalid(error, "\"id\" is not the id of a snapshot");
    if (!manifest->version || snapshot_version_parse(manifest->version, &version) < 0)
        return invalid(error, "\"version\" is not a version number");
    if (!is_date(manifest->created))
        return invalid(error, "\"created\" is not a date");
    if (member_size(manifest->json, "bytes", &manifest->bytes) < 0)
        return invalid(error, "\"bytes\" is not a size");
    if (!text_equal(member_text(checksum, "name"), MANIFEST_CHECKSUM) ||
        member_size(checksum, "block", &block) < 0 || block != DIGEST_BLOCK)
        return invalid(error, "\"checksum\" is not the one of this format");
    return 0;
}

static int read_file(const json_t *entry, struct manifest_file *file, struct error *error)
{
    const char *sum = member_text(entry, "sum");

    file->path = member_text(entry, "path");
    if (!path_is_allowed(file->path))
        return invalid(error, "a file has no path, or one that is not allowed: '%.200s'",
                       file->path ? file->path : "");
    if (member_size(entry, "bytes", &file->bytes) < 0)
        return invalid(error, "the file '%.200s' has no size", file->path);
    if (!sum || digest_from_hex(sum, &file->digest) < 0)
        return invalid(error, "the file '%.200s' has no checksum", file->path);
    return 0;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct manifest_file *)a)->path, ((const struct manifest_file *)b)->path);
}

static int read_files(struct manifest *manifest, struct error *error)
{
    const json_t *files = json_object_get(manifest->json, "files");
    size_t count = json_array_size(files);
    uint64_t total = 0;

    if (!json_is_array(files))
        return invalid(error, "it has no list of files");
    manifest->files = calloc(count ? count : 1, sizeof *manifest->files);
    if (!manifest->files)
        return error_set(error, "out-of-memory", ENOMEM, "Too many files in a manifest");
    for (size_t i = 0; i < count; i++) {
        int r = read_file(json_array_get(files, i), &manifest->files[i], error);

        if (r < 0)
            return r;
        manifest->file_count++;
        if (__builtin_add_overflow(total, manifest->files[i].bytes, &total))
            return invalid(error, "its files have too many bytes");
    }
    if (total != manifest->bytes)
        return invalid(error, "its files have %llu bytes, not %llu", (unsigned long long)total,
                       (unsigned long long)manifest->bytes);
    qsort(manifest->files, count, sizeof *manifest->files, compare_files);
    return 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int read_directories(struct manifest *manifest, struct error *error)
{
    const json_t *directories = json_object_get(manifest->json, "directories");
    size_t count = json_array_size(directories);

    if (!json_is_array(directories))
        return invalid(error, "it has no list of directories");
    manifest->directories = calloc(count ? count : 1, sizeof *manifest->directories);
    if (!manifest->directories)
        return error_set(error, "out-of-memory", ENOMEM, "Too many directories in a manifest");
    for (size_t i = 0; i < count; i++) {
        manifest->directories[i] = json_string_value(json_array_get(directories, i));
        if (!path_is_allowed(manifest->directories[i]))
            return invalid(error, "a directory has a path that is not allowed");
    }
    manifest->directory_count = count;
    qsort(manifest->directories, count, sizeof *manifest->directories, compare_texts);
    return 0;
}

static int check_parent(const struct manifest *manifest, const char *path, struct error *error)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(free_ptr) char *parent = NULL;

    if (!slash)
        return 0;
    parent = text_format("%.*s", (int)(slash - path), path);
    if (!manifest_has_directory(manifest, parent))
        return invalid(error, "the directory of '%.200s' is not listed", path);
    return 0;
}

static int check_names(const struct manifest *manifest, struct error *error)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < manifest->file_count; i++) {
        const char *path = manifest->files[i].path;

        if (i > 0 && text_equal(path, manifest->files[i - 1].path))
            return invalid(error, "'%.200s' is listed twice", path);
        if (manifest_has_directory(manifest, path))
            return invalid(error, "'%.200s' is a file and a directory", path);
        r = check_parent(manifest, path, error);
    }
    for (size_t i = 0; r == 0 && i < manifest->directory_count; i++) {
        if (i > 0 && text_equal(manifest->directories[i], manifest->directories[i - 1]))
            return invalid(error, "'%.200s' is listed twice", manifest->directories[i]);
        r = check_parent(manifest, manifest->directories[i], error);
    }
    return r;
}

static int read_all(struct manifest *manifest, struct error *error)
{
    int r = check_format(manifest->json, error);

    if (r == 0)
        r = read_identity(manifest, error);
    if (r == 0)
        r = read_directories(manifest, error);
    if (r == 0)
        r = read_files(manifest, error);
    return r == 0 ? check_names(manifest, error) : r;
}

int manifest_parse(const char *data, size_t length, struct manifest **ret_manifest,
                   struct error *error)
{
    struct manifest *manifest;
    json_error_t problem;
    int r = check_shape(data, length, error);

    if (r < 0)
        return r;
    manifest = allocate(sizeof *manifest);
    manifest->json = json_loadb(data, length, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(manifest->json))
        r = invalid(error, "line %d: %s", problem.line,
                    manifest->json ? "not an object" : problem.text);
    else
        r = read_all(manifest, error);
    if (r < 0) {
        manifest_free(manifest);
        return r;
    }
    *ret_manifest = manifest;
    return 0;
}

const struct manifest_file *manifest_find(const struct manifest *manifest, const char *path)
{
    struct manifest_file key = {.path = path};

    return bsearch(&key, manifest->files, manifest->file_count, sizeof key, compare_files);
}

bool manifest_has_directory(const struct manifest *manifest, const char *path)
{
    return bsearch(&path, manifest->directories, manifest->directory_count, sizeof path,
                   compare_texts) != NULL;
}

char *manifest_sum(const char *data, size_t length)
{
    struct digest digest = {0};
    char hex[DIGEST_HEX_LENGTH + 1];

    if (digest_bytes(data, length, &digest) < 0)
        return NULL;
    digest_to_hex(&digest, hex);
    return text_format("%s  %s\n", hex, SNAPSHOT_MANIFEST);
}

void manifest_free(struct manifest *manifest)
{
    if (!manifest)
        return;
    json_decref(manifest->json);
    free(manifest->files);
    free(manifest->directories);
    free(manifest);
}
