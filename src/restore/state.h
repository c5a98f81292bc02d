/* SPDX-License-Identifier: Apache-2.0 */
/* What the steps of one restore share. For the files of this folder. */
#pragma once

#include "container/view.h"
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
    int stdio; /* which of 0, 1 and 2 it was; -1: none of them */
};

/* What the manifest says and a restore needs, checked. */
struct restore_plan {
    enum workload_mode captured_mode;
    bool contained;          /* it was a container: */
    const json_t *container; /* what the manifest says of it */
    bool system_v;           /* its IPC namespace is in the images */
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
    int watch; /* of who looks after CRIU (criu/service.h); borrowed */
    struct keeper keeper;
    struct workload workload;

    struct container_view target; /* of a restore into a container */
    int users;                    /* its user namespace; -1: it is ours */
};

/* What no step has given up yet is given up, and what was never taken is none (steps.c). */
#define RESTORE_INIT                             \
    ((struct restore){.directory = -1,           \
                      .lock = -1,                \
                      .images = -1,              \
                      .work = -1,                \
                      .root_process = -1,        \
                      .plugin = -1,              \
                      .carrier_receiver = -1,    \
                      .carrier_sender = -1,      \
                      .watch = -1,               \
                      .keeper = KEEPER_INIT,     \
                      .workload = WORKLOAD_INIT, \
                      .users = -1,               \
                      .target = CONTAINER_VIEW_INIT})
void restore_forget(struct restore *restore);

/* Opens the snapshot; everything small is checked now, bulk contents while CRIU works. */
int restore_open(struct restore *restore, struct error *error);
/* The bulk files were read while CRIU restored; nothing runs on contents that are not right. */
int restore_join_verification(struct restore *restore, struct error *error);
int restore_prepare_cuda(struct restore *restore, struct error *error);
/* While CRIU brings back a deleted file it has a name for a moment, the same each time. */
int restore_take_turn(struct restore *restore, struct error *error);
int restore_run_criu(struct restore *restore, criu_notify_function *at_point, pid_t *ret_root,
                     struct error *error);
/* All processes are there, stopped: what has to be right before they go on. `inside`: a process in
 * whose pid namespace theirs are meant; 0: ours. */
int restore_finish_processes(struct restore *restore, pid_t inside, struct error *error);
int restore_conclude_cuda(struct restore *restore, int result, struct error *error);
/* Where CRIU works and logs, made before it starts (logs.c). */
int restore_open_logs(struct restore *restore, const char *label, struct error *error);
/* All is well: they are removed. Where the request wants it, CRIU's log is copied before. */
void restore_close_logs(const struct restore *restore);
/* They are kept, and copied where the request wants it; the message says where. */
void restore_mention_logs(const struct restore *restore, struct error *error);

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
