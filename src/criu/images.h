/* SPDX-License-Identifier: Apache-2.0 */
/* Reading CRIU's images: two magic numbers, then length-prefixed protobuf messages
 * (https://criu.org/Images). What is read was written by CRIU, and is checked all the same. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

/* The names of all regular files in files.img, as the processes see them ("/tmp/log"), in
 * `directory`. NULL-terminated; the caller gives array and names up with criu_names_free. */
int criu_image_file_names(int directory, char ***ret_names, struct error *error);
void criu_names_free(char **names);

/* The names that CRIU gives deleted files while it restores them ("/tmp/log.cr.1.ghost"): it makes
 * them beside the old name, opens and removes them. Given up in the same way. */
int criu_image_ghost_names(int directory, char ***ret_names, struct error *error);

/*
 * Mends what CRIU 4.2 saves wrongly, in place: a periodic timerfd with an unread tick is saved as
 * one that never ticks again (the kernel shows no remaining time for it until it is read); it gets
 * its interval as remaining time.
 */
int criu_image_mend(int directory, struct error *error);

/*
 * The signals that waited for a process, or for its main thread, when it was frozen, and that its
 * copy will find: a bit for each, the lowest is signal 1 (proc_pid_status(5) has masks like this).
 * `pid`: as CRIU saw it. "criu-protocol".
 */
int criu_image_pending_signals(int directory, pid_t pid, uint64_t *ret_mask, struct error *error);

/*
 * The processes were in the same pid namespace as CRIU, with number 1 among them. Makes a restore
 * give them a pid namespace of their own, below the one that CRIU is in then, and leave them in
 * CRIU's user namespace, whatever theirs was: CRIU makes a namespace where the numbers that it
 * notes of itself and of the root process differ.
 * "criu-protocol", "disk-full".
 */
int criu_image_choose_namespaces(int directory, struct error *error);
