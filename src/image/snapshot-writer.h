/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a snapshot: a staging directory beside the published versions, filled by the caller, sealed
 * with checksums, published by rename. Until publish has returned 0 there is nothing that looks
 * like a snapshot, whatever happens to this process.
 *
 * Codes: "snapshot-id", "disk-full", "snapshot-write", "snapshot-read", "snapshot-content",
 * "snapshot-exists", "snapshot-manifest".
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "basic/cleanup.h"
#include "basic/error.h"
#include "copy/progress.h"

struct snapshot_writer;

/* Makes (where needed) <root>/<id>/versions and in it an empty staging directory, for `version`, or
 * (NULL) the next version number, which stays reserved for this writer. Leftovers of writers of
 * this id that have died are removed. "snapshot-exists": that version is there already. */
int snapshot_writer_begin(const char *root, const char *id, const char *version,
                          struct snapshot_writer **ret_writer, struct error *error);

/* Where to put files and directories (regular ones only; modes are set to 0600 and 0700 by seal).
 * The names manifest.json and manifest.sum at the top are the writer's. Both stay the writer's. */
int snapshot_writer_directory(const struct snapshot_writer *writer);
const char *snapshot_writer_path(const struct snapshot_writer *writer); /* absolute, final once
                                                                           published */

const char *snapshot_writer_id(const struct snapshot_writer *writer);
const char *snapshot_writer_version(const struct snapshot_writer *writer);

/* Checksums and fsyncs all files that are there. May be called again: files unchanged since (inode,
 * size, times) are not read again. Threads (0: one a processor) run in a leaf child.
 * Nothing may write to the files while it runs. */
int snapshot_writer_seal(struct snapshot_writer *writer, unsigned threads,
                         const struct progress *progress, struct error *error);

/* What seal has counted. */
uint64_t snapshot_writer_bytes(const struct snapshot_writer *writer);

/*
 * Seals what was added or changed after the last seal, writes the manifest and publishes. The
 * manifest (an object, borrowed, not changed) gets the members "format", "id", "version",
 * "created" (unless it has one), "checksum", "bytes", "directories" and "files"; its own members
 * of these names are replaced. On failure nothing is published, and free removes the staging
 * directory.
 */
int snapshot_writer_publish(struct snapshot_writer *writer, const json_t *manifest,
                            struct error *error);

/* Removes the staging directory unless it was published. NULL is nothing. */
void snapshot_writer_free(struct snapshot_writer *writer);

DEFINE_CLEANUP(free_snapshot_writer, struct snapshot_writer *, snapshot_writer_free)
