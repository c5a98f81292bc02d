/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories, by descriptor. Everything that is opened here is close-on-exec. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

/* Reads all of a (small) file below `directory` (AT_FDCWD: the path as it is), at most `maximum`
 * bytes; the result is zero terminated and the caller's. -EFBIG when it is larger. */
int file_read(int directory, const char *path, size_t maximum, char **ret_data, size_t *ret_length);

/* Writes a whole small file: a temporary sibling, fsync, rename. 0 or a negative errno. */
int file_write_atomic(int directory, const char *path, const void *data, size_t length);

int file_write_all(int fd, const void *data, size_t length);

/* Opens `path` beneath `directory`: no symbolic links, no magic links, no way up and out.
 * openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS. Returns a descriptor or a negative errno.
 */
int file_open_beneath(int directory, const char *path, int flags, mode_t mode);

/* The same as a process whose "/" is `root` would: links are followed and stay inside, magic links
 * are refused. */
int file_open_in_root(int root, const char *path, int flags, mode_t mode);

/* mkdir -p. */
int directory_create_all(const char *path, mode_t mode);

/* Removes what is below `path` and `path` itself; never follows links, never crosses mounts.
 * Nothing there is success. */
int directory_remove_all(int directory, const char *path);

/* Duplicates onto the lowest descriptor >= `least`, close-on-exec. */
int fd_duplicate(int fd, int least);

/* Clears or sets close-on-exec. */
int fd_set_inherited(int fd, bool inherited);

/* The path of a descriptor, read from /proc/self/fd; the caller frees it. NULL when unknown. */
char *fd_path(int fd);
