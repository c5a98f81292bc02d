/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at every file of an open snapshot (the manifest itself was checked when it was opened) and
 * lists each one that is damaged, missing, of another size or does not belong there.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "copy/progress.h"
#include "image/snapshot.h"

enum verify_scope {
    VERIFY_METADATA, /* names, kinds and sizes of all; contents of all but bulk files */
    VERIFY_BULK,     /* contents of bulk files only: criu/pages-*.img and files over 16 MiB, but
                         no archives, which are used at once */
    VERIFY_ALL,
};

enum verify_kind {
    VERIFY_DAMAGED, /* the contents differ from what was written */
    VERIFY_MISSING, /* a file or directory of the manifest is not there */
    VERIFY_FOREIGN, /* not in the manifest, or not a regular file where there should be one */
    VERIFY_WRONG_SIZE,
    VERIFY_UNREADABLE, /* the kernel can't read it */
};

struct verify_finding {
    enum verify_kind kind;
    char *path; /* relative to the snapshot's directory */
    char *text; /* for people, e.g. "is 10 bytes long, was 12" */
};

struct verify_report {
    struct verify_finding *findings; /* sorted by path */
    size_t count;                    /* 0: all is well */
    uint64_t files;                  /* whose contents were checked */
    uint64_t bytes;                  /* of these */
};

#define VERIFY_REPORT_INIT ((struct verify_report){0})

/* "damaged", "missing", "foreign", "wrong-size", "unreadable". */
const char *verify_kind_name(enum verify_kind kind);

/* 0 when it could be done, with findings or without: look at the report (or verify_report_check).
 * Threads (0: one a processor) run in a leaf child. The caller gives up the report. */
int snapshot_verify(const struct snapshot *snapshot, enum verify_scope scope, unsigned threads,
                    struct verify_report *ret_report, const struct progress *progress,
                    struct error *error);

/* 0, or "snapshot-damaged" with the first findings in the message. */
int verify_report_check(const struct verify_report *report, struct error *error);

void verify_report_done(struct verify_report *report);

/* The same beside other work: starts a leaf child at once. */
struct verification;
int snapshot_verify_start(const struct snapshot *snapshot, enum verify_scope scope,
                          unsigned threads, struct verification **ret_verification,
                          struct error *error);

/* Readable when it is done. Stays the verification's. */
int snapshot_verify_fd(const struct verification *verification);

/* Waits for the end. The snapshot must still be open. */
int snapshot_verify_finish(struct verification *verification, struct verify_report *ret_report,
                           struct error *error);

/* Stops it when it still runs. NULL is nothing. */
void snapshot_verify_free(struct verification *verification);

DEFINE_CLEANUP(free_verification, struct verification *, snapshot_verify_free)
