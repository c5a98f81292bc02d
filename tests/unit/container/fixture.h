/* SPDX-License-Identifier: Apache-2.0 */
/* Overlays to change, and what two trees look like side by side. What fails here ends the test
 * program. Needs root; every program works in a mount namespace of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "container/rootfs.h"

/* For use as an expression: ends the program when it is false. */
#define MUST(condition) ((condition) ? (void)0 : fixture_fail(__FILE__, __LINE__, #condition))
void fixture_fail(const char *file, int line, const char *what) __attribute__((noreturn));

/* A private mount namespace. False when this process may not have one: nothing can be tested. */
bool fixture_isolate(void);

/* A new directory on the file system of TMPDIR (/var/tmp), or on a tmpfs of `tmpfs_megabytes`. */
char *fixture_directory(unsigned tmpfs_megabytes);
void fixture_directory_remove(char *path);

struct layers {
    char *base, *lower, *upper, *work, *merged;
    int upper_fd, merged_fd;
    bool indexed;
};

/* Mounts an overlay of `lower` and new directories below `base`; `options` as for mount(8), or "".
 * False when the kernel does not know the options. */
bool layers_mount(struct layers *layers, const char *base, const char *name, const char *lower,
                  const char *options);
void layers_unmount(struct layers *layers);

/* A bit of everything, as an image has it. */
void fixture_image(const char *root);

/* A line for each thing below `root`: everything about it that can be seen but inode numbers,
 * change and access times. The caller frees the text. */
char *fixture_describe(const char *root);

/* Fails the test with the first line that differs. */
void fixture_same(const char *what, const char *a, const char *b);

uint64_t fixture_random(uint64_t *state);

/* In a directory, by a path with slashes; modes are set whatever the umask is. */
void put_file(int root, const char *path, const char *text, unsigned mode);
void put_directory(int root, const char *path, unsigned mode);
void put_attribute(int root, const char *path, const char *name, const void *value,
                   unsigned length);
void put_time(int root, const char *path, int64_t seconds, long nanoseconds);

/* An empty file without a name, for an archive. */
int fixture_archive(void);

/* What the upper layer of `from` has, applied to `to`; both fail the test when they fail. */
void fixture_save(const struct layers *from, const char *const *exclusions, int archive,
                  struct rootfs_summary *ret);
void fixture_apply(int archive, const struct layers *to);

/* Applies twice, and fails the test unless both look the same after each. */
void fixture_compare(int archive, const struct layers *from, const struct layers *to);

/* A user namespace that maps [0, length) to `outside` and on; -1: not possible here. */
int fixture_user_namespace(unsigned outside, unsigned length);

/*
 * Two overlays over one image: the first is changed, saved, and applied to the second, twice.
 * Fails the test unless both look the same after each. `sum` may be NULL. False: not possible here.
 */
bool fixture_round_trip(const char *base, const char *options, void (*change)(int root),
                        struct rootfs_summary *sum);
