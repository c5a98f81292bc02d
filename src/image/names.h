/* SPDX-License-Identifier: Apache-2.0 */
/* The names in a directory, read before any of them is changed. */
#pragma once

#include <stddef.h>

struct names {
    char **names; /* sorted */
    size_t count;
};

#define NAMES_INIT ((struct names){0})

/* All but "." and "..". 0 or a negative errno. */
int names_read(int directory, struct names *ret_names);

void names_done(struct names *names);
