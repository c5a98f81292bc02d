/* SPDX-License-Identifier: Apache-2.0 */
/* What is done while the tree is frozen and CRIU has saved it. */
#pragma once

#include "capture/state.h"

/* The workload's own /dev/shm and its root process, which are part of the snapshot. */
int capture_save_surroundings(struct capture *capture, struct error *error);

/* Checksums, manifest, and the rename that makes it a snapshot. */
int capture_publish(struct capture *capture, struct error *error);

/* The point of no return: nobody brings the source back from here on. */
int capture_let_go(struct capture *capture, struct error *error);

/* Notes in the workload's record where it was saved to; NULL: it was not, after all. */
void capture_mark_saved(struct capture *capture, const char *reference);
