/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver can do to another process: tell its state, lock, checkpoint, restore, unlock.
 *
 *     running --lock--> locked --checkpoint--> checkpointed --restore--> locked --unlock--> running
 *
 * Messages begin as those of NVIDIA's utility do; codes tell the cases apart: "cuda-no-state"
 * (-ENODATA), "cuda-wrong-state" (-EBADFD), "cuda-lock-timeout" (-ETIMEDOUT), "cuda-not-supported"
 * (-EOPNOTSUPP), "cuda-out-of-memory" (-ENOMEM), "cuda-permission" (-EPERM), "cuda-gpu-missing"
 * (-ENODEV), "cuda-failed-state" (-ENOTRECOVERABLE), "cuda-failed" (-EIO), and a few more.
 *
 * `pid` is as this process's pid namespace sees it.
 */
#pragma once

#include <sys/types.h>

#include "cuda/device-map.h"
#include "cuda/driver.h"

int cuda_get_state(const struct cuda_driver *driver, pid_t pid, stasis_cu_process_state *ret_state,
                   struct error *error);

/* The thread that serves checkpoint and restore: it must be able to run while they do. The id is
 * what the driver says: see cuda/thread-id.h. */
int cuda_get_restore_tid(const struct cuda_driver *driver, pid_t pid, pid_t *ret_tid,
                         struct error *error);

/* `timeout_msec` 0: no limit. After a failure the process is running, locked only if the driver
 * refuses to unlock it. */
int cuda_lock(const struct cuda_driver *driver, pid_t pid, unsigned timeout_msec,
              struct error *error);

int cuda_checkpoint(const struct cuda_driver *driver, pid_t pid, struct error *error);

/* `map` is NULL (or empty) to restore onto the GPUs of before. */
int cuda_restore(struct cuda_driver *driver, pid_t pid, const struct cuda_device_map *map,
                 struct error *error);

int cuda_unlock(const struct cuda_driver *driver, pid_t pid, struct error *error);

/* Whatever has to be done so that the process runs again: restore, unlock, nothing. A process that
 * has ended meanwhile is success. */
int cuda_bring_back(struct cuda_driver *driver, pid_t pid, struct error *error);
