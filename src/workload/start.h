/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a new workload so that it can be snapshotted best: `snapshotctl run`. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "basic/error.h"
#include "workload/keeper.h"
#include "workload/record.h"

struct workload_request {
    const char *root; /* of all snapshots and workloads */
    const char *name;
    const char *const *command;     /* NULL-terminated */
    const char *const *environment; /* KEY=VALUE, added to ours; NULL-terminated, or NULL */
    const char *directory;          /* NULL: where we are */
    enum workload_mode mode;
    enum stdio_kind stdio;
    bool private_shm;
    bool own_ipc;
    bool allow_io_uring; /* CRIU can't save a process that uses it, so it is refused by default */
};

/*
 * Starts it; when this returns 0 the command has been executed and lives on its own, whatever
 * happens to this process. `ret_keeper` (given up by keeper_done) is for attached use.
 * Codes: "workload-exists", "command-not-found", "command-not-executable", "namespace-setup", …
 */
int workload_start(const struct workload_request *request, struct workload *ret_workload,
                   struct keeper *ret_keeper, struct error *error);

/* Fills in pids and dates of a workload whose first process the keeper has begun. */
int workload_describe(const struct keeper *keeper, const struct keeper_begun *begun,
                      struct workload *workload, struct error *error);

const char *stdio_name(enum stdio_kind kind);
int stdio_parse(const char *name, enum stdio_kind *ret_kind);
