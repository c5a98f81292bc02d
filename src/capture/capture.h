/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The story of a capture: a running process tree becomes a published snapshot. Whatever fails
 * before the snapshot is published, the source runs on as if nothing had happened.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"
#include "basic/reporter.h"
#include "criu/service.h"

struct capture_request {
    const char *root;    /* of all snapshots */
    const char *name;    /* of a workload, or NULL and: */
    pid_t pid;           /* root of any process tree */
    const char *id;      /* of the snapshot; NULL: the workload's name, or made from the command */
    const char *version; /* NULL: the next one */
    bool leave_running;
    enum tcp_policy tcp;
    unsigned timeout_seconds; /* for locking CUDA and for freezing; 0: default */
    uint64_t ghost_limit;     /* 0: default */
    bool keep_logs;
    const char *const *exclusions; /* of a container's files: container/rootfs.h; may be NULL */
    bool skip_rootfs;              /* leave a container's changed files out */
    json_t *container; /* what its runtime says of it, for the manifest; NULL: nothing */
    struct reporter *reporter;
};

struct capture_result {
    char *id, *version, *path;
    uint64_t bytes;
    double seconds, frozen_seconds;
    double cuda_seconds; /* inside the driver, while the tree was frozen */
    json_t *phases;
};

/* Codes: those of preflight, "criu-…", "cuda-…", "snapshot-…", "disk-full", "interrupted". */
int capture_run(const struct capture_request *request, struct capture_result *ret_result,
                struct error *error);

struct preflight_report;

/* Only the question whether it could be done, asked exactly as capture_run asks it; nothing is
 * touched. preflight_report_done gives the report up. */
int capture_preflight(const struct capture_request *request, struct preflight_report *ret_report,
                      struct error *error);

void capture_result_done(struct capture_result *result);
