/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories beside the versions that are on their way to or from being one:
 * .staging-VERSION-HOST-PID-START-COUNT and .trash-… of the same form. Their owner holds a lock
 * (flock) on them as long as it lives; where there are no locks, the name tells who it was.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum scratch_kind { SCRATCH_STAGING, SCRATCH_TRASH };

struct scratch_name {
    enum scratch_kind kind;
    uint64_t version;
    uint64_t host; /* of this boot of this machine and this pid namespace */
    pid_t pid;
    uint64_t start_time; /* clock ticks since boot: proc_pid_stat(5) field 22 */
    uint64_t count;      /* of the owner's directories */
};

/* A name of this process that it has not used before. */
struct scratch_name scratch_name_new(enum scratch_kind kind, uint64_t version);

/* The caller frees it. */
char *scratch_name_format(const struct scratch_name *name);

/* 0 or -EINVAL. */
int scratch_name_parse(const char *text, struct scratch_name *ret_name);

enum scratch_owner {
    SCRATCH_LIVES,
    SCRATCH_DEAD,
    SCRATCH_UNKNOWN, /* of another host, on a file system without locks */
};

/* Whether the owner of an entry of the directory `versions` still lives. When it is dead,
 * `*ret_lock` is a descriptor to close after removing the entry (or -1); nobody else removes it
 * until then. */
enum scratch_owner scratch_claim(int versions, const char *text, const struct scratch_name *name,
                                 int *ret_lock);

/* Removes what dead owners have left in `versions`. What can't be removed stays. */
void scratch_clean(int versions);
