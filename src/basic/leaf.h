/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaf processes: a child that may use threads (or load a vendor library) because it never forks,
 * never enters a namespace and never becomes CRIU. It dies with its parent.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "basic/error.h"

struct leaf {
    pid_t pid;
    int socket; /* SOCK_SEQPACKET to the child; owned */
};

#define LEAF_INIT ((struct leaf){.pid = -1, .socket = -1})

/*
 * Forks a child that runs `work(socket, context)` and exits with its result (0..255).
 * `dies_with_parent`: the child gets SIGKILL when this process ends (PR_SET_PDEATHSIG).
 * Otherwise it lives in a session of its own and notices the end of its parent on the socket.
 */
int leaf_start(int (*work)(int socket, void *context), void *context, bool dies_with_parent,
               struct leaf *ret_leaf, struct error *error);

/* Closes the socket and waits for the end of the child. Returns its exit status, or a negative
 * errno (-ECHILD when a signal ended it). */
int leaf_finish(struct leaf *leaf);

/* Kills and reaps what still runs. For CLEANUP. */
void leaf_done(struct leaf *leaf);
