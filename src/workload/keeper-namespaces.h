/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper makes inside its fresh namespaces before any process of the workload exists. */
#pragma once

#include "basic/error.h"
#include "workload/keeper.h"

/* CLONE_NEW… flags for the plan. */
unsigned long keeper_namespace_flags(const struct keeper_plan *plan);

/* Own /proc, own /dev/shm and own place in /run, the root process and the log in it, and the
 * loopback device, as far as the plan wants them. Runs in the keeper, in its own namespaces. */
int keeper_prepare_namespaces(const struct keeper_plan *plan, struct error *error);
