/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CUDA worker: a leaf process that loads the vendor's driver library and moves the CUDA
 * processes of a tree between running, locked and checkpointed. It lives in a session of its own
 * and outlives its owner: when the owner is gone before `cuda_worker_commit`, every process that
 * the worker has touched is brought back to running. So a killed capture never hurts the source.
 *
 * Who moves device memory is decided behind this interface; today the driver itself does
 * (the "staged" way of docs/architecture.md).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "basic/error.h"

struct cuda_worker;

/* A process that has CUDA state. Process and thread ids as this (the host's) pid namespace sees
 * them. */
struct cuda_process {
    pid_t pid;
    pid_t restore_tid;
};

/* Starts the worker and loads the driver in it. -ENOENT with "cuda-driver-missing" when there is
 * no libcuda.so.1. The caller gives it up with cuda_worker_free. */
int cuda_worker_start(struct cuda_worker **ret_worker, struct error *error);

/* Ends the worker. What was touched and not committed is rolled back first (waited for). A CRIU
 * that still runs has to be ended before. */
void cuda_worker_free(struct cuda_worker *worker);

/* How long to wait for an answer (10 minutes unless said otherwise) before a call fails with
 * "cuda-hung" (-ETIME). The driver can't be interrupted: the worker stays behind with it, rolls
 * back when the driver returns, and ends; every later call on it fails at once. */
void cuda_worker_set_deadline(struct cuda_worker *worker, unsigned seconds);

/* The state (STASIS_CU_PROCESS_STATE_…, see cuda/state.h) of each process. */
int cuda_worker_states(struct cuda_worker *worker, const pid_t *pids, size_t count, int *states,
                       struct error *error);

/* Which of `pids` have CUDA state; costs nothing for a process that has no libcuda mapped.
 * The caller frees the array. */
int cuda_worker_find(struct cuda_worker *worker, const pid_t *pids, size_t count,
                     struct cuda_process **ret_processes, size_t *ret_count, struct error *error);

/* Locks all, each within `timeout_msec` (0: no limit); on failure those locked are unlocked. */
int cuda_worker_lock(struct cuda_worker *worker, const struct cuda_process *processes, size_t count,
                     unsigned timeout_msec, struct error *error);

/* Checkpoints locked processes / restores checkpointed ones from outside, without CRIU's plugin.
 * `device_map` is NULL or "OLD=NEW,…" (see cuda/device-map.h). Restore ends locked. */
int cuda_worker_checkpoint(struct cuda_worker *worker, const struct cuda_process *processes,
                           size_t count, struct error *error);
int cuda_worker_restore(struct cuda_worker *worker, const struct cuda_process *processes,
                        size_t count, const char *device_map, struct error *error);
int cuda_worker_unlock(struct cuda_worker *worker, const struct cuda_process *processes,
                       size_t count, struct error *error);

/*
 * A socket for the CRIU plugin (cuda/plugin-protocol.h): CRIU inherits it and the plugin asks the
 * worker to move each process at the moment when the whole tree is stopped.
 * For a capture: the locked `processes` are checkpointed when CRIU has frozen the tree, and brought
 * back when the dump ends, unless cuda_worker_commit came first.
 * The caller owns `*ret_fd` (close-on-exec): it hands it to CRIU under the number that it puts into
 * the environment variable STASIS_PLUGIN_FD, and closes its own copy as soon as CRIU runs.
 */
int cuda_worker_plugin_for_capture(struct cuda_worker *worker, const struct cuda_process *processes,
                                   size_t count, int *ret_fd, struct error *error);

/* For a restore: processes whose ids inside their pid namespace are `inner_pids` are restored and
 * unlocked. */
int cuda_worker_plugin_for_restore(struct cuda_worker *worker, const pid_t *inner_pids,
                                   size_t count, const char *device_map, int *ret_fd,
                                   struct error *error);

/* After CRIU has ended: 0 when the plugin and the worker did all that they were asked, else the
 * error of the first step that failed (CRIU itself swallows failures at restore).
 * `ret_seconds` (may be NULL): time spent inside the driver. */
int cuda_worker_plugin_result(struct cuda_worker *worker, double *ret_seconds, struct error *error);

/* The snapshot is published and the source is to end: nothing is rolled back any more. */
int cuda_worker_commit(struct cuda_worker *worker, struct error *error);

/* Brings everything touched and not committed back to running now. Where the vendor's library has
 * crashed ("cuda-worker-died" from any call above) a fresh worker does it. Safe to call again;
 * cuda_worker_free does it too, but can't tell what went wrong. */
int cuda_worker_roll_back(struct cuda_worker *worker, struct error *error);
