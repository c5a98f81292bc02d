/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a snapshot, for a terminal and as a page. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "image/snapshot.h"

void inspect_text(FILE *stream, const struct snapshot *snapshot, bool all_files);

/* One HTML page that needs nothing else: no network, no script. */
void inspect_page(FILE *stream, const struct snapshot *snapshot);

struct manifest;
struct manifest_file;

/* All files, the largest first. The caller frees the array. */
const struct manifest_file **files_by_size(const struct manifest *contents);
