/* SPDX-License-Identifier: Apache-2.0 */
/* What the environment tells the entrypoint (man/restore-entrypoint.1). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SETTINGS_BASE_DEFAULT "/checkpoints"
#define SETTINGS_MARKER_DEFAULT "/tmp/dynamo-restored"
#define SETTINGS_TRIGGER_DEFAULT "/tmp/restore-trigger"
#define SETTINGS_CRIU_LOG "/tmp/criu-restore.log"

struct settings {
    int wait_seconds;         /* RESTORE_WAIT_TIMEOUT; 0: for ever */
    bool wait_for_checkpoint; /* wait whatever is there */
    bool skip_wait;           /* look once, never wait */
    bool debug;
    const char *hash, *base, *location; /* of the snapshot; NULL: not set */
    const char *marker;
    const char *signal_file; /* of a checkpoint job; NULL: this is none */
    const char *trigger;
    const char *default_command; /* NULL: none */
    const char *control;         /* directory by which an agent speaks; NULL: none */
    const char *restore_by;      /* "auto", "here" or "agent" */
    const char *bundle;

    int criu_timeout; /* seconds; 0: none */
    int criu_log_level;
    const char *criu_work; /* NULL: not set */
    const char *plugins;   /* CUDA_PLUGIN_DIR; NULL: not set */
    bool skip_in_flight, auto_dedup, lazy_pages;
};

/* Values that make no sense are told about and taken as the default. */
void settings_read(struct settings *ret_settings);

/* Accepted variables that change nothing in a restore by Stasis: what is done instead. */
void settings_explain(const struct settings *settings);

int settings_parse_seconds(const char *text, int *ret_seconds);
