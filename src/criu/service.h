/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to a started CRIU: one request, its notifications, its answer.
 * Wire format: proto/criu-rpc.proto over SOCK_SEQPACKET (https://criu.org/RPC).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

enum tcp_policy {
    TCP_KEEP,   /* established connections are saved and come back */
    TCP_CLOSE,  /* they are closed in the restored process */
    TCP_REFUSE, /* a process that has one is not captured */
};

enum network_lock {
    NETWORK_LOCK_NONE, /* both ends of every connection are in the frozen tree */
    NETWORK_LOCK_NFT,  /* packets are held back while the tree is frozen */
};

struct criu_dump {
    pid_t pid; /* root of the tree, as CRIU sees it */
    bool leave_running;
    bool shell_job; /* the root's session or terminal belongs to somebody outside the tree */
    enum tcp_policy tcp;
    enum network_lock network_lock;
    uint64_t ghost_limit;        /* bytes of a deleted file that are carried along */
    unsigned timeout_seconds;    /* for freezing the tree */
    const char *const *external; /* NULL-terminated, or NULL */
    int log_level;
};

struct criu_inherited_fd {
    char *key; /* "tty[rdev:dev]", "pipe:[inode]" */
    int fd;    /* ours; CRIU inherits it */
};

struct criu_restore {
    bool shell_job;
    enum tcp_policy tcp;
    const struct criu_inherited_fd *inherited; /* same order as criu_launch.inherited */
    size_t inherited_count;
    unsigned timeout_seconds; /* between two signs of life of CRIU; 0: wait for ever. Where it is
                                 given, the wait ends with "interrupted" on a signal, too. */
    int log_level;
    int watch; /* hangs up when whoever looks after CRIU has ended, and with it the restore;
                  -1: nobody does */
};

/* Called when CRIU reports that it has reached a point ("post-dump", "post-restore", …) and waits
 * there. A negative answer makes CRIU undo what it did, where it still can. */
typedef int criu_notify_function(const char *point, pid_t pid, void *context, struct error *error);

/* Runs one dump; returns when CRIU has answered. An error of `notify` comes first. */
int criu_dump(int socket, const struct criu_dump *dump, criu_notify_function *notify, void *context,
              struct error *error);

/* Runs one restore. `ret_pid`: the root process, as CRIU sees it. */
int criu_restore(int socket, const struct criu_restore *restore, criu_notify_function *notify,
                 void *context, pid_t *ret_pid, struct error *error);

/* CRIU's version as major * 10000 + minor * 100 + patch. */
int criu_version(int socket, unsigned *ret_version, struct error *error);

#define CRIU_DUMP_LOG "dump.log"
#define CRIU_RESTORE_LOG "restore.log"
