/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting CRIU as a worker that is spoken to over a socket (`criu swrk FD`).
 *
 * CRIU looks descriptors up as /proc/<peer of the socket>/fd/N and so must find its peer in its
 * own pid namespace. Therefore the process that becomes CRIU makes the socket pair itself (its
 * peer is then itself, and descriptors are those that it inherited) and sends our end to us.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "basic/error.h"

/* Descriptor numbers inside CRIU; the messages name them. */
enum {
    CRIU_IMAGES_FD = 10,
    CRIU_WORK_FD = 11,
    CRIU_SOCKET_FD = 12,
    CRIU_PLUGIN_FD = 13,
    CRIU_FIRST_INHERITED_FD = 14,
};

struct criu_launch {
    const char *binary;           /* as the process that becomes CRIU sees the file system */
    const char *plugin_directory; /* NULL: CRIU runs without plugins */
    int images_directory;
    int work_directory; /* logs and statistics */
    int plugin_socket;  /* -1: none */
    int messages;       /* where its standard error goes; -1: nowhere */
    int terminal;       /* becomes the controlling terminal of its new session; -1: none */
    const int *inherited;
    size_t inherited_count;
    unsigned personality; /* personality(2) flags that restored processes inherit */
    bool spared;          /* by the kernel when memory runs out, as far as we may say so */
    pid_t least_pid;      /* 0, or: it and what it forks take process ids above this one */
};

/* Makes the two ends over which the socket of the new CRIU arrives: keep `ret_receiver`, give
 * `ret_sender` to the process that becomes CRIU. */
int criu_carrier_make(int *ret_receiver, int *ret_sender, struct error *error);

/* Forks (into the pid namespace that this process has chosen for its children) and becomes CRIU
 * in the child. For processes that are already in the right namespaces. */
int criu_start_here(const struct criu_launch *launch, int carrier_sender, pid_t *ret_pid,
                    struct error *error);

/* Starts CRIU inside the pid, mount and network namespaces of `inside` (0: where we are). The
 * returned child is ours to reap and ends when CRIU ends. */
int criu_start(const struct criu_launch *launch, pid_t inside, int carrier_sender, pid_t *ret_pid,
               struct error *error);

/* Waits for the socket of the started CRIU. */
int criu_carrier_receive(int carrier_receiver, int *ret_socket, struct error *error);
