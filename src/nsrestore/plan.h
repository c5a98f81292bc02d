/* SPDX-License-Identifier: Apache-2.0 */
/* The plan that nsrestore works by, read and checked (container/nsrestore.h). */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "basic/error.h"
#include "container/nsrestore.h"
#include "criu/launch.h"

struct plan_mount {
    int fd;
    const char *point;
};

struct plan {
    json_t *json; /* owns all strings */
    int process, carrier, control;
    const char *namespaces[16];
    size_t namespace_count;
    int cgroups[NSRESTORE_DESCRIPTORS_MAXIMUM];
    size_t cgroup_count;
    struct plan_mount mounts[NSRESTORE_DESCRIPTORS_MAXIMUM];
    size_t mount_count;
    int inherited[NSRESTORE_DESCRIPTORS_MAXIMUM];
    struct criu_launch criu;
};

/* "usage". */
int plan_read(int fd, struct plan *ret_plan, struct error *error);
void plan_done(struct plan *plan);
