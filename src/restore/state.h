/* SPDX-License-Identifier: Apache-2.0 */
/* What the steps of one restore share. For the files of this folder. */
#pragma once

#include "criu/find.h"
#include "criu/launch.h"
#include "cuda/worker.h"
#include "image/snapshot.h"
#include "image/verify.h"
#include "restore/restore.h"
#include "workload/phases.h"

enum { RESTORE_PROCESSES_MAXIMUM = 65536, RESTORE_OUTSIDE_MAXIMUM = 256 };

/* A stand-in for something that was connected to the world outside. */
struct stand_in {
    const char *key; /* borrowed from the manifest */
    bool terminal;
    bool writes;
};

/* What the manifest says and a restore needs, checked. */
struct restore_plan {
    enum workload_mode captured_mode;
    pid_t root, main, highest_id;
    bool shell_job;
    unsigned personality;
    bool private_shm;
    enum tcp_policy tcp;
    enum stdio_kind stdio;
    const char *name;      /* borrowed */
    const json_t *command; /* borrowed */
    pid_t *pids;           /* of all processes */
    size_t pid_count;
    pid_t *cuda_pids;
    size_t cuda_count;
    struct stand_in *stand_ins;
    size_t stand_in_count;
    bool needs_terminal, needs_pipe;
};

struct restore {
    const struct restore_request *request;
    struct phases phases;
    struct snapshot *snapshot;
    struct restore_plan plan;
    enum workload_mode mode;
    struct verification *verification; /* of the bulk files, while CRIU works */
    struct criu_installation criu;
    struct cuda_worker *cuda;
    char *device_map;

    char *name;
    int directory, lock; /* of the workload's record */
    bool record_is_new;
    long log_start;
    int images, work, root_process;
    char *work_path;
    char *plugins;
    int plugin;
    int carrier_receiver, carrier_sender;
    struct keeper keeper;
    struct workload workload;
};

/* Reads the plan from the manifest (plan.c). "snapshot-manifest". */
int restore_plan_read(const json_t *manifest, struct restore_plan *ret_plan, struct error *error);
void restore_plan_done(struct restore_plan *plan);

/* Compares what the snapshot needs with this machine; nothing is touched (check.c). */
int restore_check(struct restore *restore, struct error *error);

/* Whether anybody has the names and addresses that the processes listen at (names.c). */
int restore_check_names(const struct restore *restore, struct error *error);

/* The keeper's part: shared memory, then CRIU (begin.c). A keeper_begin_function. */
int restore_begin(const struct keeper_stdio *stdio, void *context, struct keeper_begun *ret_begun,
                  struct error *error);
