/* SPDX-License-Identifier: Apache-2.0 */
/* What a mistyped word was probably meant to be. */
#pragma once

#include <stddef.h>

/* Insertions, deletions, replacements and swaps of neighbours that turn one into the other. */
size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length);

/* A search over candidates offered one by one: the nearest that is near enough. */
struct suggestion {
    const char *typed;
    const char *best; /* borrowed; NULL: nothing is near */
    size_t best_length;
    size_t best_distance;
};

void suggestion_offer(struct suggestion *suggestion, const char *candidate, size_t length);

/* The nearest word of "a|b|c"; the caller frees it. NULL: none is near. */
char *suggest_word(const char *typed, const char *words);
