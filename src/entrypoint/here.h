/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore into this very container, by the programs that its image carries in the bundle
 * directory (tools/make-bundle). They bring their libraries and their loader along, so that the
 * image may be of any C library, or have none.
 */
#pragma once

#include <signal.h>

#include "entrypoint/decision.h"
#include "entrypoint/settings.h"

/* Why this container can't restore by itself, for people, or NULL when it can. The caller frees
 * it. */
char *here_obstacle(const struct settings *settings);

enum here_outcome { HERE_RESTORED, HERE_FAILED, HERE_TOLD_TO_END };

/* Restores and returns when that has ended: the restored processes are there, or nothing of them.
 * `waited` are signals that are blocked here, `before` what is to be blocked in programs.
 * `ret_reason` (HERE_FAILED; the caller frees it) has the error's code; `ret_signal` is the one
 * that asked for an end, or 0: after HERE_RESTORED it came too late to undo, and is for the
 * restored. */
enum here_outcome here_restore(const struct settings *settings, const struct snapshot_place *place,
                               const sigset_t *waited, const sigset_t *before, char **ret_reason,
                               int *ret_signal);
