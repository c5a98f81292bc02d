/* SPDX-License-Identifier: Apache-2.0 */
/* A root directory of a test's own, and snapshots to put into it. Everything here ends the test
 * program when it fails. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/snapshot-writer.h"

/* Makes a new directory below TMPDIR (or /tmp); the caller frees the path. */
char *fixture_root(void);
void fixture_root_remove(char *root); /* and frees it */

/* Bytes that look random and depend on the seed alone. */
void fixture_fill(void *data, size_t length, uint64_t seed);
uint64_t fixture_random(uint64_t *state);

/* Writes a file (its directory must exist) of such bytes, mode 0644. */
void fixture_file(int directory, const char *path, size_t length, uint64_t seed);
void fixture_text(int directory, const char *path, const char *text);
void fixture_directory(int directory, const char *path);

/* The files that every test snapshot has: some, one empty, one in a directory of a directory, an
 * empty directory. */
void fixture_populate(int directory);

/* Publishes such a snapshot; `created` may be NULL. */
void fixture_snapshot(const char *root, const char *id, const char *created);

/* How many entries a directory has, hidden ones too; -1: there is no such directory. */
int fixture_count(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool fixture_exists(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs `body` in a child with STASIS_FAULT=fault and gives its wait status. */
int fixture_child(int (*body)(const char *root), const char *root, const char *fault);
