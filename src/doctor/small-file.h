/* SPDX-License-Identifier: Apache-2.0 */
/* The one-line files of /proc and /sys. */
#pragma once

/* The first line without its end, or NULL when it can't be read. The caller frees it. */
char *small_file_line(const char *path);

/* The number after "key" in lines such as "MemTotal:  123 kB" or "Seccomp: 2"; -1: not there. */
long long small_file_number(const char *path, const char *key);

/* The word in brackets of "always [madvise] never"; the caller frees it. NULL: none. */
char *small_file_choice(const char *path);
