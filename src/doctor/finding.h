/* SPDX-License-Identifier: Apache-2.0 */
/* What was found out about this machine. */
#pragma once

#include <stddef.h>

enum finding_level {
    FINDING_OK,
    FINDING_NOTE,    /* good to know; nothing to do */
    FINDING_WARNING, /* works, but worse, or not for every workload */
    FINDING_FAILURE, /* snapshots can't work here */
};

struct finding {
    const char *code; /* a row of the catalogue, which says why it matters and what to do */
    enum finding_level level;
    char *message;
};

struct findings {
    struct finding *list; /* in the order in which they were made */
    size_t count;
};

#define FINDINGS_INIT ((struct findings){0})

/* "ok", "note", "warning", "failure". */
const char *finding_level_name(enum finding_level level);

void findings_add(struct findings *findings, const char *code, enum finding_level level,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

size_t findings_count(const struct findings *findings, enum finding_level level);

void findings_done(struct findings *findings);
