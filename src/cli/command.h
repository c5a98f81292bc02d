/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line offers, as data: one table of commands and their options, from which
 * parsing, help, completion and the manual's reference are made. See cli/commands.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "basic/error.h"

struct invocation;

enum value_type {
    VALUE_FLAG,       /* takes no value */
    VALUE_TEXT,       /* anything */
    VALUE_NAME,       /* letters, digits, '.', '_' and '-', not starting with '.' or '-'; <= 128 */
    VALUE_NUMBER,     /* whole and not negative */
    VALUE_PID,        /* a process id, > 0 */
    VALUE_BYTES,      /* 1048576, 64K, 1.5GiB */
    VALUE_DURATION,   /* seconds, or with ms, s, m, h, d, w */
    VALUE_WORD,       /* one of `words` */
    VALUE_ASSIGNMENT, /* KEY=VALUE */
};

enum completion_kind {
    COMPLETE_NOTHING,
    COMPLETE_FILE,
    COMPLETE_DIRECTORY,
    COMPLETE_SNAPSHOT,
    COMPLETE_WORKLOAD,
    COMPLETE_CODE,
    COMPLETE_WORDS,
    COMPLETE_COMMAND,
    COMPLETE_PID,
    COMPLETE_PROGRAM, /* any program of the machine, then files */
};

struct option_definition {
    const char *name;  /* without the dashes; NULL ends a list */
    char letter;       /* 0: none */
    const char *value; /* what help calls the value; NULL for flags */
    enum value_type type;
    const char *initial; /* the value when it isn't given; NULL: none */
    const char *words;   /* "a|b|c" for VALUE_WORD */
    enum completion_kind completion;
    bool repeats;
    const char *help;    /* one line */
    const char *more;    /* what, when and why, in sentences; may be NULL */
    const char *example; /* one whole command line; may be NULL */
};

struct operand_definition {
    const char *name; /* "ID[@VERSION]"; NULL: the command takes none */
    size_t minimum;
    size_t maximum;
    enum completion_kind completion;
    const char *words;      /* for COMPLETE_WORDS; then nothing else is accepted */
    const char *instead[2]; /* options that take the operand's place: exactly one of all is given */
    bool ends_options; /* everything from the first operand on belongs to it (a command line) */
};

struct example {
    const char *line; /* NULL ends a list */
    const char *what;
};

struct exit_meaning {
    int status; /* -1: text of its own, "128+N" */
    const char *what;
};

struct command {
    const char *name; /* NULL ends the table */
    const char *summary;
    const char *description; /* paragraphs are separated by "\n\n" */
    const struct option_definition *options;
    struct operand_definition operand;
    const struct example *examples;
    const struct exit_meaning *exits; /* beside 0, 1 and 2, which all have; ends with what = NULL */
    bool
        passes_status; /* attached, it ends with the status of the workload; own failures are 125 */
    bool hidden;
    bool needs_root; /* refused with "not-root" before anything else, when it is somebody else */
    /* 0 or the exit status of the program (> 0), or a negative errno with `error` filled. */
    int (*handler)(const struct invocation *invocation, struct error *error);
};

extern const struct command commands[];

/* Options that every command takes. */
extern const struct option_definition global_options[];

/* Statuses that every command can end with. */
extern const struct exit_meaning common_exits[];

const struct command *command_find(const char *name);

/* NULL when `list` (may be NULL) has no such option. */
const struct option_definition *option_find(const struct option_definition *list, const char *name,
                                            size_t length);
const struct option_definition *option_find_letter(const struct option_definition *list,
                                                   char letter);

/* The word of `words` ("a|b|c") at `index`, as pointer and length; false past the end. */
bool words_at(const char *words, size_t index, const char **ret_word, size_t *ret_length);

/* Handlers, one file each: cli/command-NAME.c. */
int command_run(const struct invocation *invocation, struct error *error);
int command_checkpoint(const struct invocation *invocation, struct error *error);
int command_restore(const struct invocation *invocation, struct error *error);
int command_ps(const struct invocation *invocation, struct error *error);
int command_logs(const struct invocation *invocation, struct error *error);
int command_stop(const struct invocation *invocation, struct error *error);
int command_list(const struct invocation *invocation, struct error *error);
int command_inspect(const struct invocation *invocation, struct error *error);
int command_verify(const struct invocation *invocation, struct error *error);
int command_delete(const struct invocation *invocation, struct error *error);
int command_gc(const struct invocation *invocation, struct error *error);
int command_doctor(const struct invocation *invocation, struct error *error);
int command_preflight(const struct invocation *invocation, struct error *error);
int command_explain(const struct invocation *invocation, struct error *error);
int command_setup(const struct invocation *invocation, struct error *error);
int command_completion(const struct invocation *invocation, struct error *error);
int command_help(const struct invocation *invocation, struct error *error);
int command_complete(const struct invocation *invocation, struct error *error); /* hidden */
int command_manual(const struct invocation *invocation, struct error *error);   /* hidden */
