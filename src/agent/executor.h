/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the agent that has rights. It hears nothing from the network: orders come from the
 * agent's loop over a channel, are checked, recorded in the journal, and carried out each in a
 * process of its own.
 *
 * To it:    {"do": "begin", "order": {…}}    agent/order.h
 *           {"do": "cancel", "key": "…"}     it ends soon, with "interrupted", where it still can
 *           {"do": "forget", "key": "…"}     its result is not needed any more
 * From it:  {"state": "running"|"ended", "key", "order", "result"}
 *           {"state": "ready"}               after all that an earlier agent has begun was told
 */
#pragma once

#include <sys/types.h>

#include "agent/journal.h"
#include "agent/settings.h"

/* Runs until the loop's process ends, or a signal says to stop (which leaves operations alone).
 * Returns the exit status of the agent. */
int executor_run(int channel, pid_t loop_process, struct journal *journal,
                 const struct agent_settings *settings);
