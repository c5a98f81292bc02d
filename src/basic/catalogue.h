/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of everything that can go wrong: one row a code, in catalogue-*.def. Codes are
 * stable: scripts may match them. `snapshotctl explain CODE` prints a row.
 */
#pragma once

#include <stddef.h>

struct catalogue_entry {
    const char *code;
    const char *title; /* what is wrong, in a line */
    const char *why;   /* why it happens and why it matters */
    const char *cure;  /* what to do */
};

/* NULL for an unknown code. */
const struct catalogue_entry *catalogue_find(const char *code);

/* All rows, in order of their codes' files. */
const struct catalogue_entry *catalogue_entries(size_t *ret_count);
