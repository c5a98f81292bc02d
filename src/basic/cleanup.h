/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership: a variable that owns something says how it is given up, and ownership moves
 * explicitly. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Runs `function(&variable)` when the variable leaves its scope. */
#define CLEANUP(function) __attribute__((cleanup(function)))

/* Defines `name`, usable in CLEANUP, for a pointer type whose destructor accepts NULL. */
#define DEFINE_CLEANUP(name, type, destructor) \
    static inline void name(type *owned)       \
    {                                          \
        if (*owned)                            \
            destructor(*owned);                \
    }

/* Hands over ownership: evaluates to the old value and leaves "nothing" behind. */
#define STEAL_PTR(pointer)                       \
    (__extension__({                             \
        __typeof__(pointer) stolen_ = (pointer); \
        (pointer) = NULL;                        \
        stolen_;                                 \
    }))

static inline int steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

static inline void free_ptr(void *owned)
{
    free(*(void **)owned);
}

/* errno survives, so that a failing path can clean up before it reports. */
static inline void close_fd(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
    errno = saved;
}

static inline void close_file(FILE **file)
{
    if (*file)
        (void)fclose(*file);
}

static inline void close_directory(DIR **directory)
{
    if (*directory)
        (void)closedir(*directory);
}
