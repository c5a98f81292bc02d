/* SPDX-License-Identifier: Apache-2.0 */
/* What an owner and its CUDA worker say to each other: datagrams on a SOCK_SEQPACKET pair. Both are
 * the same program image (the worker is forked, not executed), so layouts need no versions. */
#pragma once

#include <stdint.h>

#include "cuda/worker.h"

enum worker_request_kind {
    WORKER_FIND = 1,
    WORKER_STATES,
    WORKER_LOCK,
    WORKER_CHECKPOINT,
    WORKER_RESTORE,
    WORKER_UNLOCK,
    WORKER_PLUGIN_CAPTURE,
    WORKER_PLUGIN_RESTORE,
    WORKER_PLUGIN_RESULT,
    WORKER_COMMIT,
    WORKER_ROLL_BACK,
};

enum {
    WORKER_PROCESSES_MAX = 8192, /* in one message */
    WORKER_TEXT_MAX = 8192,
};

/* Followed by `count` struct cuda_process and `text_length` bytes with a final zero. */
struct worker_request {
    uint32_t kind;
    uint32_t count;
    uint32_t timeout_msec;
    uint32_t text_length;
};

/* Followed by `count` struct cuda_process (for WORKER_STATES: the state in place of the tid). */
struct worker_reply {
    int32_t result;
    uint32_t count;
    double seconds;
    char code[64];
    char message[2048];
};

enum {
    WORKER_REQUEST_MAX = sizeof(struct worker_request) +
                         WORKER_PROCESSES_MAX * sizeof(struct cuda_process) + WORKER_TEXT_MAX,
    WORKER_REPLY_MAX =
        sizeof(struct worker_reply) + WORKER_PROCESSES_MAX * sizeof(struct cuda_process),
};
