/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A published snapshot, open for reading. Whoever has it open shares a lock (flock) on its
 * directory, so that it is not deleted under them.
 *
 * Codes: "snapshot-id", "snapshot-missing", "snapshot-damaged" (the manifest does not match its
 * checksum, or is not there), "snapshot-version", "snapshot-manifest", "snapshot-read".
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "basic/cleanup.h"
#include "basic/error.h"

struct snapshot;
struct manifest;

/* `reference`: ID (the highest version) or ID@VERSION. Checks the manifest completely and none of
 * the other files (image/verify.h does). */
int snapshot_open(const char *root, const char *reference, struct snapshot **ret_snapshot,
                  struct error *error);

/* The same for a snapshot directory anywhere; id and version are those of its manifest. */
int snapshot_open_path(const char *path, struct snapshot **ret_snapshot, struct error *error);

/* All of these stay the snapshot's. */
const char *snapshot_path(const struct snapshot *snapshot); /* absolute */
int snapshot_directory(const struct snapshot *snapshot);
const char *snapshot_id(const struct snapshot *snapshot);
const char *snapshot_version(const struct snapshot *snapshot);
const char *snapshot_created(const struct snapshot *snapshot); /* "2026-11-21T10:11:12Z" */
uint64_t snapshot_bytes(const struct snapshot *snapshot);      /* of all files but the manifest */
const json_t *snapshot_manifest(const struct snapshot *snapshot);
const struct manifest *snapshot_contents(const struct snapshot *snapshot); /* image/manifest.h */

/* Opens a file that the manifest lists, for reading; a descriptor, or a negative errno (-ENOENT
 * when it isn't listed, too). Sizes and checksums are verify's. */
int snapshot_open_file(const struct snapshot *snapshot, const char *path);

/* NULL is nothing. */
void snapshot_free(struct snapshot *snapshot);

DEFINE_CLEANUP(free_snapshot, struct snapshot *, snapshot_free)
