/* SPDX-License-Identifier: Apache-2.0 */
/* What is different when the tree is a container. For the files of this folder. */
#pragma once

#include "capture/state.h"

/* Notices that the tree is a container, or is told so, and looks at it. */
int capture_container_find(struct capture *capture, struct error *error);

/* Processes that were started into the container from outside (`exec`) would be left out of the
 * snapshot and end with it. Short ones (probes) are waited for. "left-behind". */
int capture_container_check_others(const struct capture *capture, struct error *error);

/* After CRIU's dump: what it has named anew is in what the snapshot holds. "volume-deleted-name".
 */
int capture_container_check_names(const struct capture *capture, struct error *error);

/* While the tree is frozen: everything of the container that is not in its processes, into the
 * snapshot; then the images are made fit for a restore into another one. */
int capture_container_save(struct capture *capture, struct error *error);

/* Nothing of CRIU's is left in the container; for one that runs on. */
void capture_container_tidy(int images, int root);

/* The member "container" of the manifest; a new reference. */
json_t *capture_container_describe(const struct capture *capture);
