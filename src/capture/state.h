/* SPDX-License-Identifier: Apache-2.0 */
/* What the steps of one capture share. For the files of this folder. */
#pragma once

#include "capture/capture.h"
#include "container/overlay.h"
#include "container/view.h"
#include "criu/find.h"
#include "cuda/worker.h"
#include "image/snapshot-writer.h"
#include "proc/tree.h"
#include "workload/phases.h"
#include "workload/record.h"

/* Something of the tree that is connected to the world outside: on restore it gets a stand-in. */
struct outside {
    char *key; /* CRIU's name for it: "tty[…]", "pipe:[…]", "file[…]" */
    bool terminal;
    bool file;   /* of a file system that the tree can't see */
    bool writes; /* the tree's end of a pipe is the writing one */
    int stdio;   /* which of 0, 1 and 2 it is for the root process; -1: none */
};

struct capture {
    const struct capture_request *request;
    struct phases phases;

    bool managed; /* started by `run` or `restore` here */
    struct workload workload;
    pid_t root;                 /* of the tree, as the machine sees it */
    pid_t inside;               /* a process whose namespaces CRIU enters; 0: none */
    bool contained;             /* the tree is a container, */
    struct container_view view; /* then this one, */
    struct overlay overlay;     /* and its "/" */
    int upper;                  /* layer of the overlay; -1: its files are not saved */
    json_t *rootfs, *memory;    /* what of its files was saved */
    struct process_tree tree;
    struct outside *outside;
    size_t outside_count;
    json_t *names;    /* [{"tcp": "127.0.0.1:80"} or {"unix": "/path"}] that the tree listens at */
    bool tcp_outside; /* an established connection has its other end outside */
    bool tcp_any;
    pid_t highest_id; /* of processes, threads, groups and sessions, inside */

    struct criu_installation criu;
    struct cuda_worker *cuda;
    struct cuda_process *cuda_processes;
    size_t cuda_count;
    pid_t *cuda_pids;
    json_t *remaps, *attributes; /* workload/remap.h, workload/attributes.h */
    json_t *cuda_facts;          /* driver, GPUs */

    char *id;
    struct snapshot_writer *writer;
    char *work_path; /* CRIU's logs */
    int images, work;
    int turn;        /* lock against other captures of the tree */
    pid_t helper;    /* CRIU, or who waits for it inside; 0: not started */
    int criu_socket; /* to CRIU itself; -1: none */
    uint64_t frozen_at;
    double frozen_seconds, cuda_seconds;
    bool let_go; /* the source is to end; nobody brings it back */
};

/* Finds the target: the root of its tree, and the workload that it is (inspect.c). */
int capture_find(struct capture *capture, struct error *error);

/* Then reads its tree and what connects it to the outside (inspect.c). */
int capture_inspect(struct capture *capture, struct error *error);

/* The id by which a process of the tree knows itself where CRIU runs. */
pid_t capture_inner_pid(const struct capture *capture, const struct process *process);

/* The process of the tree that is told when the workload is to end: its command, or the root. */
const struct process *capture_main(const struct capture *capture);

/* Whether CRIU still holds the tree. When it was killed, the tree runs on while we believe it to be
 * frozen: then it is not to end, nor is what was saved behind CRIU's back worth anything.
 * "criu-died" (capture.c). */
int capture_check_held(const struct capture *capture, struct error *error);

/* Describes everything for the manifest (describe.c); the caller owns the result. */
json_t *capture_describe(const struct capture *capture);

/* Whether a process has the CUDA driver library mapped. */
bool capture_maps_cuda(pid_t pid);
