/* SPDX-License-Identifier: Apache-2.0 */
/* What a keeper does after its workload was begun: wait, reap, relay, write down the end. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct keeper_loop {
    int socket;    /* to whoever started us; -1 when it is gone */
    int directory; /* of the workload's record */
    int lock;      /* held by being open */
    int master;    /* terminal, or -1 */
    int pipe;      /* reading end, or -1 */
    int log;       /* where the output of both goes */
    pid_t root;    /* -1 until known */
    pid_t helper;  /* 0: none */
    bool root_ended;
    int root_status; /* as waitpid(2) tells it */
    bool released;
    bool host_mode;
};

/* Never returns. */
_Noreturn void keeper_run(struct keeper_loop *loop);

/* Ends every process of the workload, then this one. */
_Noreturn void keeper_end_all(struct keeper_loop *loop);
