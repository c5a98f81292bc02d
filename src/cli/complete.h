/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion. The shells' scripts are thin: they hand over the words typed so far and get
 * candidates back, so that all shells know what the table of commands knows.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

/*
 * `words` follow the program's name; the last one is being completed (it may be empty).
 * Prints a line "candidate<TAB>description" each, and last ":files", ":directories",
 * ":programs" (complete these as well) or ":none".
 */
void complete(const char *const *words, size_t count, FILE *stream);

/* The script for "bash", "zsh" or "fish"; NULL for others. */
const char *completion_script(const char *shell);
