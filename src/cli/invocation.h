/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of the program, parsed and checked: which command, its operands, and typed values of
 * its options. Asking for an option that the command's table lacks, or for another type than the
 * table says, is a bug and ends the program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "basic/reporter.h"
#include "cli/command.h"

/* What a handler can end with; other positive results are a workload's own status. */
enum exit_status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_REFUSED = 3, /* preflight or compatibility says no; nothing was touched */
    STATUS_DAMAGED = 4, /* the snapshot's bytes are not what was written */
    STATUS_UNABLE = 5,  /* this machine can't do it */
    STATUS_ATTACHED_FAILED = 125,
    STATUS_NOT_EXECUTABLE = 126,
    STATUS_NOT_FOUND = 127,
};

struct option_value {
    const struct option_definition *definition;
    bool given;
    const char **texts; /* owned array of borrowed strings; more than one only for `repeats` */
    size_t count;
    uint64_t number;
    double seconds;
};

struct invocation {
    const struct command *command; /* NULL: none was named */
    const char *const *operands;   /* borrowed from argv */
    size_t operand_count;
    struct option_value *values; /* owned: global options, then the command's */
    size_t value_count;
    bool json;
    bool verbose;
    bool help_wanted;
    bool version_wanted;
    const char *root;          /* --root, else STASIS_ROOT, else the default */
    struct reporter *reporter; /* set by main; not owned */
};

#define INVOCATION_INIT ((struct invocation){0})

/* Errors have the code "usage" and say what was meant. `argv` must outlive the invocation. */
int invocation_parse(int argc, const char *const *argv, struct invocation *ret_invocation,
                     struct error *error);
void invocation_done(struct invocation *invocation);

/* The operand at `index`, or NULL. */
const char *operand_at(const struct invocation *invocation, size_t index);

bool option_given(const struct invocation *invocation, const char *name);
bool option_flag(const struct invocation *invocation, const char *name);

/* VALUE_TEXT, _NAME, _WORD, _ASSIGNMENT: the value, the table's default, or NULL. */
const char *option_text(const struct invocation *invocation, const char *name);

/* All values of an option that repeats, in order. */
const char *const *option_texts(const struct invocation *invocation, const char *name,
                                size_t *ret_count);

/* VALUE_NUMBER, _PID, _BYTES; 0 when neither given nor defaulted. */
uint64_t option_number(const struct invocation *invocation, const char *name);

/* VALUE_DURATION; 0 when neither given nor defaulted. */
double option_seconds(const struct invocation *invocation, const char *name);
