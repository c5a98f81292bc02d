/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: one small process beside each workload, never part of a snapshot. For a workload
 * with process ids of its own it is process 1 of that pid namespace and has prepared the
 * namespaces (CRIU restores processes into them; it never has to restore namespaces themselves).
 * For a workload among the machine's processes it is the reaper of orphans. It holds the lock of
 * the workload's name, relays a terminal to the log, and writes down how the workload ended.
 *
 * Until it is told to go on alone, the keeper ends with whoever started it and takes every process
 * of the workload with it. So nothing half-started or half-restored stays behind.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "basic/error.h"
#include "workload/record.h"

enum stdio_kind {
    STDIO_LOG,     /* input from nowhere, output appended to the log */
    STDIO_PTY,     /* a terminal of its own, whose output is written to the log */
    STDIO_INHERIT, /* the caller's own */
};

/* What the processes of the workload are given, in the keeper, after namespaces are made. */
struct keeper_stdio {
    enum stdio_kind kind;
    int log;      /* opened for appending, inside the workload's mount namespace */
    int terminal; /* STDIO_PTY: the side of the workload; else -1 */
    int pipe;     /* writing end of a pipe that is relayed to the log; -1 unless wanted */
};

/* Processes as the keeper sees them (inside the workload's pid namespace); -1: not known yet. */
struct keeper_begun {
    pid_t root; /* of the tree; its end is the workload's end */
    pid_t main; /* the user's command */
    /* A process that undoes what it did when whoever gives it orders is gone; 0: none. The keeper,
     * too, waits for its end then. */
    pid_t helper;
};

/* Starts the workload's first process, or CRIU, which restores it; runs in the keeper. */
typedef int keeper_begin_function(const struct keeper_stdio *stdio, void *context,
                                  struct keeper_begun *ret_begun, struct error *error);

struct keeper_plan {
    enum workload_mode mode;
    bool private_shm; /* own /dev/shm (own mode only) */
    bool own_ipc;     /* own System V IPC and message queues (own mode only) */
    bool own_network; /* a network namespace with only a loopback device */
    enum stdio_kind stdio;
    bool needs_pipe;      /* a pipe whose contents go to the log, for `begin` to pass on */
    const char *log_path; /* absolute */
    int directory;        /* of the workload's record */
    int lock;             /* held while the keeper lives */
    int root_process;     /* the program stasis-root, open for reading; -1: not needed */
    keeper_begin_function *begin;
    void *context;
};

struct keeper {
    pid_t pid;
    int socket;
    int process; /* pidfd */
    bool released;
};

#define KEEPER_INIT ((struct keeper){.pid = -1, .socket = -1, .process = -1})

/* Where the workload finds what the keeper gives it, in its own tmpfs. */
#define KEEPER_PLACE "/run/stasis"
#define KEEPER_ROOT_PROCESS KEEPER_PLACE "/root"
#define KEEPER_LOG KEEPER_PLACE "/log"

/* Starts a keeper and waits until `begin` has succeeded in it; `ret_begun` is what it said. */
int keeper_start(const struct keeper_plan *plan, struct keeper *ret_keeper,
                 struct keeper_begun *ret_begun, struct error *error);

/* From now on the keeper stands alone; `root` (as the workload sees it) is the process whose end is
 * the workload's end. */
int keeper_release(struct keeper *keeper, pid_t root, struct error *error);

struct winsize;

/* The size of the workload's terminal, where it has one. */
int keeper_resize(struct keeper *keeper, const struct winsize *size);

/* Bytes for the input of a workload that has a terminal. */
int keeper_input(struct keeper *keeper, const void *data, size_t length);

/* Gives up the descriptors; a keeper that was not released ends with its workload, and this waits
 * until it has. */
void keeper_done(struct keeper *keeper);
