/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a staging directory with their checksums, as far as they are known. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "copy/digest.h"
#include "copy/progress.h"

struct sealed_file {
    char *path;
    struct stat stat; /* when its checksum was taken */
    struct digest digest;
    bool sealed;
};

struct seal {
    struct sealed_file *files; /* sorted by path */
    size_t count;
    char **directories; /* sorted by path */
    size_t directory_count;
    uint64_t bytes;
};

#define SEAL_INIT ((struct seal){0})

/* Makes the list anew, sets modes to 0600 and 0700, and checksums and fsyncs every file that is
 * new or has changed since the last time. "snapshot-content", "snapshot-read", "copy-read",
 * "snapshot-write", "disk-full". */
int seal_update(struct seal *seal, int directory, unsigned threads, const struct progress *progress,
                struct error *error);

/* fsyncs the directories below, and `directory` itself. */
int seal_sync_directories(const struct seal *seal, int directory, struct error *error);

/* New references: the members "files" and "directories" of a manifest. */
json_t *seal_files_json(const struct seal *seal);
json_t *seal_directories_json(const struct seal *seal);

void seal_done(struct seal *seal);
