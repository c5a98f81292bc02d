/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of any length and bytes below a directory, by descriptors: never a symbolic link, never
 * another mount. A path has no slash at its ends; "" is the directory itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "basic/cleanup.h"

enum { PATH_LENGTH_MAXIMUM = 256 << 10, PATH_DEPTH_MAXIMUM = 4000 };

/* Relative, no empty part, no "." and "..", no part longer than a file system takes. */
bool path_is_sound(const char *path);

char *path_join(const char *directory, const char *name);

/* The part before the last slash; the caller frees it. "" when there is none. */
char *path_parent(const char *path);
const char *path_name(const char *path); /* the last part */

/* Opens a directory below `root`. -EXDEV: it is, or is below, another mount. */
int path_open_directory(int root, const char *path);

/* Like path_open_directory, for reading a file in an open directory; access times stay. */
int name_open_file(int directory, const char *name);

/* statx(2) of a name, not following it; asks for the mount too. 0 or a negative errno. */
int name_stat(int directory, const char *name, struct statx *ret);

struct name_list {
    char **names;
    size_t count;
};

#define NAME_LIST_INIT ((struct name_list){0})

/* The names in an open directory, in order of their bytes, without "." and "..". */
int name_list_read(int directory, struct name_list *ret);
void name_list_done(struct name_list *list);

/* Removes what has this name, with everything below, but nothing that is not on mount `mount`:
 * -EBUSY when such a thing is there (the rest is removed). Nothing there is success. */
int name_remove_all(int directory, const char *name, uint64_t mount);
