/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kind of workload is made of. A kind sets something up, and on every
 * SIGUSR1 verifies all of it and changes it a little, so that a process which
 * was started afresh, or restored with stale state, cannot give the right answer.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    /* Two restored copies at the same time would claim one address, name or index. */
    KIND_UNIQUE = 1 << 0,
    /* Keeps state in files of --dir, which are not part of a snapshot. */
    KIND_FILES = 1 << 1,
    /* Makes sense only in pid and IPC namespaces of its own. */
    KIND_NAMESPACES = 1 << 2,
    /* Cannot be carried over: a checkpoint must refuse and leave it running. */
    KIND_REFUSED = 1 << 3,
    /*
     * Stock CRIU saves it without a word and restores something else. A checkpoint
     * may carry it over or refuse; what it may not do is to lose it.
     */
    KIND_CARRIED_OR_REFUSED = 1 << 4,
    /* Holds established TCP connections, which a checkpoint carries over only when told. */
    KIND_TCP = 1 << 5,
};

struct workload_kind {
    const char *name;
    const char *description;
    unsigned int flags;
    const char *reason; /* why, for KIND_NAMESPACES, _REFUSED, _CARRIED_OR_REFUSED */
    int (*setup)(void);
    /* n is the answer under way, from 1 on: verify what n - 1 left, then leave n. */
    int (*check)(uint64_t n);
    void (*stop)(void); /* optional; workers are stopped by the harness */
};

struct workload_args {
    const char *dir;  /* files of this workload */
    const char *tag;  /* last component of dir, to make names unique */
    bool private_shm; /* /dev/shm belongs to the snapshot, so no leniency */
    int argc;
    char **argv;
};

extern struct workload_args arguments;

/* Every failure is told with what was expected and what was seen; both return negative errno. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fail_errno(const char *what);
/* From setup only: this machine lacks what the kind is about. */
int skip_kind(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *failure_message(void);
void failure_clear(void);

/* A failing system call ends the function with its errno and name. */
#define MUST(expr, what)             \
    do {                             \
        if ((intptr_t)(expr) == -1)  \
            return fail_errno(what); \
    } while (0)

#define PASS_ON(expr)                \
    do {                             \
        int pass_on_result = (expr); \
        if (pass_on_result < 0)      \
            return pass_on_result;   \
    } while (0)

#define EQUAL(what, expected, seen)                                                        \
    do {                                                                                   \
        long long equal_expected = (long long)(expected);                                  \
        long long equal_seen = (long long)(seen);                                          \
        if (equal_expected != equal_seen)                                                  \
            return fail("%s: expected %lld, seen %lld", what, equal_expected, equal_seen); \
    } while (0)

/* State in a file outside the snapshot is at least as new as the memory that knows of it. */
#define AT_LEAST(what, expected, seen)                                                 \
    do {                                                                               \
        long long least_expected = (long long)(expected);                              \
        long long least_seen = (long long)(seen);                                      \
        if (least_seen < least_expected)                                               \
            return fail("%s: expected %lld or newer, seen %lld", what, least_expected, \
                        least_seen);                                                   \
    } while (0)

#define WITHIN(what, low, high, seen)                                                   \
    do {                                                                                \
        long long within_seen = (long long)(seen);                                      \
        if (within_seen < (long long)(low) || within_seen > (long long)(high))          \
            return fail("%s: expected %lld to %lld, seen %lld", what, (long long)(low), \
                        (long long)(high), within_seen);                                \
    } while (0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
