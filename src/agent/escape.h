/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaving the control groups of the agent's container: a runtime that stops a container ends every
 * process in them, and an operation must outlive the agent that began it.
 */
#pragma once

#include "basic/error.h"

/* Moves this process into groups of its own, called "stasis", at the top of each hierarchy that
 * is mounted. Where we are in no container's group, nothing is done. "agent-escape" */
int escape_control_groups(struct error *error);
