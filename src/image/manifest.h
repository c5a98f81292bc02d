/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest: read from bytes that anybody may have written, into a list of files and directories
 * whose every field has been checked.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "copy/digest.h"

#define MANIFEST_CHECKSUM "xxh3-128-of-blocks" /* copy/digest.h */

enum {
    MANIFEST_FORMAT = 1,
    MANIFEST_BYTES_MAXIMUM = 64 * 1024 * 1024,
    MANIFEST_DEPTH_MAXIMUM = 32,
    MANIFEST_VALUES_MAXIMUM = 4 * 1024 * 1024,
};

struct manifest_file {
    const char *path; /* of the JSON tree */
    uint64_t bytes;
    struct digest digest;
};

struct manifest {
    json_t *json;
    const char *id; /* these point into the JSON tree */
    const char *version;
    const char *created;
    uint64_t bytes;
    struct manifest_file *files; /* sorted by path (strcmp) */
    size_t file_count;
    const char **directories; /* sorted by path */
    size_t directory_count;
};

/* "snapshot-version" for a format that is not known, "snapshot-manifest" for anything that is not
 * exactly right. */
int manifest_parse(const char *data, size_t length, struct manifest **ret_manifest,
                   struct error *error);

const struct manifest_file *manifest_find(const struct manifest *manifest, const char *path);
bool manifest_has_directory(const struct manifest *manifest, const char *path);

/* Whether `path` is relative, without "." and ".." and empty parts, within PATH_MAX and NAME_MAX.
 */
bool manifest_path_is_sound(const char *path);

/* What manifest.sum has to be for these bytes of manifest.json: XXH3-128 in the form that
 * `xxhsum --check` reads. The caller frees it; NULL: no memory. */
char *manifest_sum(const char *data, size_t length);

/* NULL is nothing. */
void manifest_free(struct manifest *manifest);
