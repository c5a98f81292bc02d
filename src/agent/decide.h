/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to do next about one wish of a pod. Pure, so that it can be simulated: no clock, no API, no
 * process. It never answers with a second operation while one runs, and never for ever with new
 * attempts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/pod.h"
#include "agent/protocol.h"

enum work_state {
    WORK_IDLE,    /* nothing was begun, or the last attempt may be repeated */
    WORK_QUEUED,  /* wants to begin; others are before it */
    WORK_RUNNING, /* an operation is at it */
    WORK_SETTLED, /* it has ended, and how is being told */
    WORK_DONE,    /* all of it is over: it went well */
    WORK_FAILED,  /* and did not go well */
};

struct work_view {
    enum work_state state;
    unsigned attempts;        /* failed ones, in this container or, of a capture, in this pod */
    bool cancelled;           /* the running operation was asked to stop */
    const char *container_id; /* of the last attempt; NULL: none, or not known */
    uint64_t not_before_usec; /* of the next attempt */
    bool refused;             /* it failed because the pod asked wrongly */
};

struct decide_limits {
    unsigned capture_attempts, restore_attempts;
};

enum step {
    STEP_NOTHING,
    STEP_BEGIN,   /* an operation */
    STEP_CANCEL,  /* the running operation: nobody wants its result any more */
    STEP_REFUSE,  /* it can't go well: say so, once */
    STEP_GIVE_UP, /* there will be no attempt after the last one, how that ended is what it comes to
                   */
    STEP_FORGET,  /* the container was replaced, or the pod asks as it should now: begin anew */
};

struct decision {
    enum step step;
    const char *code;    /* of STEP_REFUSE */
    uint64_t again_usec; /* look again then; 0: when something changes */
};

struct decision decide(const struct pod *pod, const struct wish *wish, const struct work_view *work,
                       const struct decide_limits *limits, uint64_t now_usec);
