/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CRIU plugin and the CUDA worker say to each other, over a SOCK_SEQPACKET socket whose
 * number CRIU finds in the environment variable STASIS_PLUGIN_FD. One request, one reply, of fixed
 * size. Both sides come from the same build. The plugin names processes by pidfd (SCM_RIGHTS)
 * because it may live in another pid namespace than the worker.
 */
#pragma once

#include <stdint.h>

#define PLUGIN_SOCKET_VARIABLE "STASIS_PLUGIN_FD"
#define PLUGIN_INVENTORY_NAME "stasis_plugin"

enum {
    PLUGIN_PROTOCOL_VERSION = 1,

    PLUGIN_STAGE_DUMP = 1,
    PLUGIN_STAGE_RESTORE = 2,

    /* Introduces CRIU: stage, pidfd of CRIU itself. The reply's `count` is the number of processes
     * to be moved, `deadline_msec` the longest time (0: no limit) to wait for a reply. */
    PLUGIN_HELLO = 1,
    /* Is the process (pidfd) to be moved? The reply's `found`, and `tid`: its restore thread as
     * CRIU's pid namespace sees it. */
    PLUGIN_LOOKUP = 2,
    /* Its tree is stopped and its restore thread runs: checkpoint / restore and unlock (pidfd).
     * `mask` is the signal mask to give back to the restore thread should CRIU die now. */
    PLUGIN_CHECKPOINT = 3,
    PLUGIN_RESTORE = 4,
    /* The dump is over (`detail`: 0 or not); `found` is set when the processes are to end. */
    PLUGIN_VERDICT = 5,
    /* Something went wrong on CRIU's side (`text`); no more than recorded. */
    PLUGIN_REPORT = 6,
    PLUGIN_BYE = 7,
};

struct plugin_request {
    uint32_t version;
    uint32_t kind;
    uint32_t stage;
    int32_t detail;
    uint64_t mask;
    char text[256];
};

struct plugin_reply {
    int32_t result; /* 0 or a negative errno; then `text` says what */
    int32_t tid;
    uint32_t found;
    uint32_t count;
    uint32_t deadline_msec;
    char text[512];
};
