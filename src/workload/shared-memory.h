/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a workload's own /dev/shm (POSIX shared memory and semaphores, files that CRIU has
 * linked back while it saves) as files of a snapshot, and back. The directory in the snapshot holds
 * index.json (names, kinds, owners, modes, times, hard links) and one numbered file for the
 * contents of each file, sparse like the original.
 */
#pragma once

#include <stdint.h>

#include "basic/error.h"

#define SHARED_MEMORY_DIRECTORY "shm"

/* Saves everything below the directory `from` into a new directory SHARED_MEMORY_DIRECTORY in
 * `snapshot`; makes none when there is nothing to save. The processes that use it must be frozen.
 * Names are opened beneath `from`, links are not followed. "shm-save". */
int shared_memory_save(int from, int snapshot, uint64_t *ret_bytes, struct error *error);

/* Puts it all back into the (empty, private) directory `to`. Nothing saved is success.
 * "shm-load"; an index that makes no sense is "snapshot-manifest". */
int shared_memory_load(int snapshot, int to, struct error *error);
