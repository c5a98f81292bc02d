/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long work tells somebody how far it is, without knowing who listens. The story of a capture
 * or a restore calls the functions below; a program passes an implementation (the command line
 * draws a progress line) or NULL, which is silent.
 */
#pragma once

#include <stdint.h>

struct reporter;

/* Every callback may be NULL. They are called from one thread, and never from a forked child. */
struct reporter_operations {
    void (*phase_begin)(struct reporter *reporter, const char *name);
    void (*phase_end)(struct reporter *reporter, double seconds);
    void (*bytes)(struct reporter *reporter, uint64_t done, uint64_t total);
    void (*note)(struct reporter *reporter, const char *message);
};

struct reporter {
    const struct reporter_operations *operations;
};

/* A phase starts; `name` is a few plain words ("copy device memory") and is copied. Phases nest. */
static inline void reporter_phase_begin(struct reporter *reporter, const char *name)
{
    if (reporter && reporter->operations->phase_begin)
        reporter->operations->phase_begin(reporter, name);
}

/* The phase that was begun last has ended and took `seconds`. */
static inline void reporter_phase_end(struct reporter *reporter, double seconds)
{
    if (reporter && reporter->operations->phase_end)
        reporter->operations->phase_end(reporter, seconds);
}

/* `done` of `total` bytes of the current phase; `total` is 0 while unknown. Cheap to call often. */
static inline void reporter_bytes(struct reporter *reporter, uint64_t done, uint64_t total)
{
    if (reporter && reporter->operations->bytes)
        reporter->operations->bytes(reporter, done, total);
}

/* Something that the user should know but that stops nothing: one sentence. */
static inline void reporter_note(struct reporter *reporter, const char *message)
{
    if (reporter && reporter->operations->note)
        reporter->operations->note(reporter, message);
}
