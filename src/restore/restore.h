/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The story of a restore: a published snapshot becomes a running process tree again. Either all of
 * it runs, or nothing of it is there.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "basic/error.h"
#include "basic/reporter.h"
#include "criu/service.h"
#include "workload/keeper.h"
#include "workload/record.h"

enum restore_pids {
    RESTORE_PIDS_DEFAULT, /* as it was captured: own namespace or the machine's */
    RESTORE_PIDS_SAME,    /* the same ids among the machine's processes */
    RESTORE_PIDS_NEW,     /* a pid namespace of its own */
};

struct restore_request {
    const char *root;
    const char *reference; /* ID or ID@VERSION */
    const char *name;      /* of the restored workload; NULL: as it was called */
    enum restore_pids pids;
    bool own_network;
    bool tcp_given;
    enum tcp_policy tcp; /* when given; else as captured */
    const char *device_map;
    bool skip_verify; /* contents of bulk files only; everything else is always checked */
    unsigned timeout_seconds;
    const char *logs;     /* in its `.logs` CRIU works and logs; NULL: in that of `root` */
    const char *criu_log; /* CRIU's log is copied there at the end; NULL: it is not */
    int log_level;        /* of CRIU, 0 to 4 */
    struct reporter *reporter;
};

struct restore_result {
    struct workload workload; /* as recorded */
    char *log;                /* path of its log */
    long log_start;           /* bytes that an earlier life has written there */
    char *reference;          /* ID@VERSION */
    double seconds;
    json_t *phases;
};

/* `ret_keeper` is for attached use; keeper_done gives it up.
 * Codes: "snapshot-…", "workload-exists", "pid-taken", "criu-…", "cuda-…", "file-changed", … */
int restore_run(const struct restore_request *request, struct restore_result *ret_result,
                struct keeper *ret_keeper, struct error *error);

void restore_result_done(struct restore_result *result);
