/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every reason that is known to stand in the way of a snapshot, found before anything is touched:
 * only /proc and socket tables are read. Each finding has a code of the catalogue (why, what to
 * do) and says what exactly was found. A refusal is something that CRIU or the driver really
 * can't save or bring back (docs/preflight.md says how each was tried).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"
#include "criu/service.h"
#include "proc/tree.h"

enum preflight_level {
    PREFLIGHT_NOTE,   /* good to know */
    PREFLIGHT_WARN,   /* can be saved, but something may be lost or missing later */
    PREFLIGHT_REFUSE, /* can't be saved, or can't come back */
};

struct preflight_request {
    pid_t root; /* of the tree, in this process's pid namespace */
    pid_t main; /* the process of the tree that is told when it is to end; 0: the root */
    bool leave_running;
    enum tcp_policy tcp;
    bool skip_in_flight;       /* connections that nobody has accepted yet are left out */
    uint64_t ghost_limit;      /* bytes of one deleted file; 0: CRIU's default of 1 MiB */
    bool private_shm;          /* /dev/shm is the tree's own and is saved with the snapshot */
    bool contained;            /* the tree is a container: CRIU works as criu/inside/ says */
    unsigned entered;          /* 1 << enum namespace_kind: CRIU enters these of the root */
    const char *store;         /* where the snapshot goes: its free space is compared; NULL: not */
    uint64_t device_memory;    /* bytes on all GPUs, for the forecast */
    bool device_memory_staged; /* it passes through host memory on its way */

    bool cuda_known; /* `cuda_pids` are all processes with CUDA state */
    const pid_t *cuda_pids;
    size_t cuda_count;
    bool mig; /* a GPU of the tree is divided (MIG) */
    bool mps; /* the tree is a client of an MPS server */
};

struct preflight_finding {
    const char *code; /* static; a row of the catalogue */
    enum preflight_level level;
    pid_t pid;     /* 0: of the tree or the machine */
    char *command; /* of that process; NULL when pid is 0; owned */
    char *what;    /* which descriptor, path, process; owned */
    char *details; /* a likely culprit, a hint; NULL: none; owned */
};

struct preflight_report {
    struct preflight_finding *findings; /* refusals first, then warnings, then notes */
    size_t count;
    size_t omitted; /* of codes that were found very often */
};

#define PREFLIGHT_REPORT_INIT ((struct preflight_report){0})

/*
 * Looks at the tree. 0 also when there are refusals: they are in the report, which
 * preflight_report_done gives up. Fails with "process-gone", "process-unreadable", "tree-too-large"
 * when the root itself can't be looked at. May fork a child to look into a network namespace.
 */
int preflight_run(const struct preflight_request *request, struct preflight_report *ret,
                  struct error *error);

void preflight_report_done(struct preflight_report *report);

/* "note", "warn", "refuse" */
const char *preflight_level_name(enum preflight_level level);

size_t preflight_report_count(const struct preflight_report *report, enum preflight_level level);

/* With a refusal: sets `error` to its code and a message that lists all refusals, and returns a
 * negative errno. Else 0. */
int preflight_report_error(const struct preflight_report *report, struct error *error);
