/* SPDX-License-Identifier: Apache-2.0 */
/* Files as sources and sinks of the copy engine, and the plain copy of files on top of it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "copy/engine.h"

/* Objects are descriptors (`fds`), or, where that is NULL, paths beneath `directory` that are
 * opened for each range, so that any number of files needs few descriptors. All stay the caller's.
 */
struct copy_files {
    const int *fds;
    int directory;
    const char *const *paths;
};

/* Read with pread; holes are known to be zero and not read. */
struct copy_source copy_source_files(struct copy_files *files);

/* Written with pwrite; zeros are left out: the files must be new and already have their length. */
struct copy_sink copy_sink_files(struct copy_files *files);

/*
 * Copies the regular files `paths` from beneath one directory to beneath another, sparse where
 * the bytes are zero. The files are made there (mode 0600, none may exist), their directories must
 * exist. Threads (0: one a processor) run in a leaf child. Doesn't fsync. "disk-full",
 * "copy-read", "copy-write"; what was made until then stays for the caller to remove.
 */
int copy_beneath(int from, int to, const char *const *paths, size_t count, unsigned threads,
                 const struct progress *progress, struct error *error);

/* The same for open descriptors: `from[i]` to the empty file `to[i]`. */
int copy_descriptors(const int *from, const int *to, size_t count, unsigned threads,
                     const struct progress *progress, struct error *error);

/* The error of a failed write: "disk-full" where that is the reason, else `code`. */
const char *copy_write_code(int number, const char *code);
