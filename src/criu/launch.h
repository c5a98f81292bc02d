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
#include "proc/namespaces.h"

/* Descriptor numbers inside CRIU; the messages name them. */
enum {
    CRIU_IMAGES_FD = 10,
    CRIU_WORK_FD = 11,
    CRIU_SOCKET_FD = 12,
    CRIU_PLUGIN_FD = 13,
    CRIU_MOUNT_NAMESPACE_FD = 14,
    CRIU_USER_NAMESPACE_FD = 15,
    CRIU_FIRST_INHERITED_FD = 16,
};

/* Where CRIU is to work: in these namespaces of a process. */
struct criu_place {
    pid_t pid;      /* 0: where we are */
    unsigned kinds; /* 1 << enum namespace_kind */
    bool foreign;   /* its mount namespace has neither CRIU nor its libraries: CRIU is loaded here
                       and then goes there (criu/inside/inside.c) */
    /* Optional: called by CRIU's parent when CRIU has failed or was killed, also where nobody else
     * is left, with its images and the root directory of the processes. */
    void (*tidy)(int images, int root);
    int root;
};

struct criu_launch {
    const char *binary;           /* as the process that becomes CRIU sees the file system */
    const char *inside;           /* path of criu-inside.so, for mount_namespace */
    const char *plugin_directory; /* NULL: CRIU runs without plugins */
    int images_directory;
    int work_directory;  /* logs and statistics */
    int plugin_socket;   /* -1: none */
    int messages;        /* where its standard error goes; -1: nowhere */
    int mount_namespace; /* entered when CRIU is loaded; 0: none */
    int user_namespace;  /* entered after that one, as its root; 0: none */
    int load_namespace;  /* the mount namespace where CRIU is loaded; 0: this one */
    int terminal;        /* becomes the controlling terminal of its new session; -1: none */
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

/* Starts CRIU in a place. The returned child is ours to reap and ends when CRIU ends. */
int criu_start(const struct criu_launch *launch, const struct criu_place *place, int carrier_sender,
               pid_t *ret_pid, struct error *error);

/* Waits for the socket of the started CRIU. */
int criu_carrier_receive(int carrier_receiver, int *ret_socket, struct error *error);
