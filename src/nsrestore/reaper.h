/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRIU's parent, a member of the target's pid namespace: what CRIU leaves when it fails or is
 * killed is reaped here, and not left as zombies to the target's first process, which may never
 * look. When CRIU fails or we are gone, the reaper ends all that came of CRIU. Once it is let go,
 * the restored processes pass to that first process (or to whoever is a reaper).
 */
#pragma once

#include <sys/types.h>

#include "basic/error.h"
#include "criu/launch.h"

struct reaper {
    pid_t pid; /* as we see it */
    int line;  /* closed without a word, it ends everything; hangs up when it has ended */
};

#define REAPER_INIT ((struct reaper){.pid = -1, .line = -1})

/* Starts it, and CRIU below it. */
int reaper_start(const struct criu_launch *launch, int carrier, struct reaper *ret_reaper,
                 struct error *error);

/* It ends and leaves its children to others. */
void reaper_let_go(struct reaper *reaper);

/* It waits until all that it is responsible for has ended, and ends. */
void reaper_finish(struct reaper *reaper);
