/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names on disk (docs/snapshot-format.md): <root>/<id>/versions/<version>/.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

#define SNAPSHOT_ROOT_DEFAULT "/var/lib/stasis"
#define SNAPSHOT_MANIFEST "manifest.json"
#define SNAPSHOT_MANIFEST_SUM "manifest.sum"
#define SNAPSHOT_DONE "checkpoint.done" /* in <root>/<id>: an agent has made a snapshot there */

enum { SNAPSHOT_ID_MAXIMUM = 128 };

/* Where snapshots live: `option` (--root, may be NULL), else STASIS_ROOT, else the default. */
const char *snapshot_root(const char *option);

/* [A-Za-z0-9][A-Za-z0-9._-]{0,127}; else "snapshot-id". */
int snapshot_id_check(const char *id, struct error *error);

/* A version is a decimal number from 1 on without leading zeros. 0 or -EINVAL. */
int snapshot_version_parse(const char *text, uint64_t *ret_version);

/* ID or ID@VERSION. `ret_version` is NULL for ID alone. The caller frees both. */
int snapshot_reference_parse(const char *reference, char **ret_id, char **ret_version,
                             struct error *error);

/* The error of a failed write below the root: "disk-full" where that is the reason, else
 * "snapshot-write". */
const char *snapshot_write_code(int number);

/* Opens <root>/<id>/versions; a descriptor, -ENOENT ("snapshot-missing") or another errno. */
int snapshot_versions_open(const char *root, const char *id, struct error *error);

/* The highest version number that a directory entry of `versions` has; 0: none. */
int snapshot_versions_latest(int versions, uint64_t *ret_version);

/* flock(2): waits for the lock. On file systems without such locks it is as if nobody else were
 * there: false. */
bool snapshot_lock(int fd, int operation);
