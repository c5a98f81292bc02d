/* SPDX-License-Identifier: Apache-2.0 */
/* The small languages of option values: sizes, durations, names, words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "cli/command.h"

/* "1048576", "64K", "64MB", "1.5GiB": units are powers of 1024. -EINVAL, -ERANGE. */
int bytes_parse(const char *text, uint64_t *ret_bytes);

/* "90", "1.5s", "250ms", "5m", "2h", "7d", "2w", in seconds. -EINVAL, -ERANGE. */
int duration_parse(const char *text, double *ret_seconds);

/* Letters, digits, '.', '_', '-'; not first '.' or '-'; 1 to 128 characters. */
bool name_valid(const char *text);

/* Checks `text` against the type of `definition` and sets the number or seconds where the type has
 * one. Code "usage", with what would be right. */
int value_check(const struct option_definition *definition, const char *text, uint64_t *ret_number,
                double *ret_seconds, struct error *error);
