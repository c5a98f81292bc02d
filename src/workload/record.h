/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workloads by name: what `run` started and `restore` brought back, as small files below
 * <root>/.workloads/<name>/: record.json, log (its standard output and error), exit.json (how it
 * ended), lock (held by its keeper as long as the workload lives).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

enum workload_mode {
    WORKLOAD_OWN_PIDS,  /* own pid and mount namespace, made by us */
    WORKLOAD_HOST_PIDS, /* lives among the processes of the machine */
};

struct workload {
    char *name;
    enum workload_mode mode;
    pid_t keeper, root, main;     /* as the machine sees them */
    pid_t root_inner, main_inner; /* as they see themselves */
    uint64_t keeper_start;        /* clock ticks since boot, so that a reused pid is noticed */
    json_t *command;              /* array of strings */
    char *started;                /* date */
    char *snapshot;               /* ID@VERSION that it came from, or NULL */
    char *saved;                  /* ID@VERSION that it was ended for, or NULL */
    char *stdio;                  /* "log", "pty" or "inherit" */
    bool private_shm;
};

#define WORKLOAD_INIT ((struct workload){.keeper = -1, .root = -1, .main = -1})

void workload_done(struct workload *workload);

/*
 * Takes the name: makes its directory, and locks it. Records of a workload of that name that has
 * ended are replaced. "workload-exists" (-EEXIST) when one lives.
 * `ret_directory`, `ret_lock`: descriptors, the caller's.
 */
int workload_claim(const char *root, const char *name, int *ret_directory, int *ret_lock,
                   struct error *error);

/* A free name of the form "<stem>", "<stem>-2", …; the caller frees it. */
char *workload_free_name(const char *root, const char *stem);

/* The absolute path of a file of the workload; the caller frees it. */
char *workload_path(const char *root, const char *name, const char *file);

int workload_save(int directory, const struct workload *workload, struct error *error);

/* "workload-missing" (-ENOENT) when there is no such name. */
int workload_load(const char *root, const char *name, struct workload *ret_workload,
                  struct error *error);

/* Whether its keeper lives. */
bool workload_alive(const char *root, const char *name);

/* Loads and requires that it is alive: "workload-ended". */
int workload_load_living(const char *root, const char *name, struct workload *ret_workload,
                         struct error *error);

/* How it ended: its exit status (128 + N for signal N), or "workload-unknown-end". */
int workload_exit_status(const char *root, const char *name, int *ret_status, struct error *error);

/* Removes what is known of a workload that does not run (its log too). */
void workload_forget(const char *root, const char *name);

/* Names of all workloads, living or not; NULL-terminated, the caller frees array and strings. */
int workload_names(const char *root, char ***ret_names, struct error *error);
