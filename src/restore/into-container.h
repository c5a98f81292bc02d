/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The story of a restore into a container: the processes of a snapshot that was taken of a
 * container come back in another, running one (the target: same image, its command asleep). They
 * get its network, host name, volumes, devices and control groups, and a pid namespace below its
 * own, so that they keep their ids beside whatever runs there. Either all of them run, or none is
 * there.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"
#include "basic/reporter.h"

struct container_restore_request {
    const char *root;         /* of all snapshots */
    const char *reference;    /* ID or ID@VERSION */
    pid_t target;             /* first process of the target */
    const char *image_digest; /* of the target's image; NULL: not known */
    bool any_image;           /* it may be another than the snapshot's */
    const char *device_map;
    bool skip_verify;
    unsigned timeout_seconds;
    const char *logs, *criu_log;
    int log_level;      /* these three as in struct restore_request */
    bool own;           /* the target is the container that we run in (container/own.h) */
    const char *marker; /* a file, as the target sees it, that says "restored" before any restored
                           process goes on; NULL: none */
    struct reporter *reporter;
};

struct container_restore_result {
    pid_t pid;       /* of the first restored process, as the machine sees it */
    pid_t inner_pid; /* as the target sees it */
    char *reference; /* ID@VERSION */
    json_t *helper;  /* what nsrestore said at its end */
    double seconds;
    json_t *phases;
};

/* Codes: "snapshot-…", "not-a-container", "target-…", "mount-…", "criu-…", "cuda-…", … */
int container_restore_run(const struct container_restore_request *request,
                          struct container_restore_result *ret_result, struct error *error);

void container_restore_result_done(struct container_restore_result *result);
