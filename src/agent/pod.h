/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent needs to know of a pod, and no more: a node has hundreds of them. Read from the
 * API's JSON, which other people wrote: whatever is not as it should be is as if it was not there.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* One "name=value" of a container's environment, for the names that a protocol knows. */
struct pod_variable {
    char *name, *value;
};

struct pod_mount {
    char *volume; /* its name in the pod */
    char *path;
    bool read_only;
};

struct pod_container {
    char *name;
    struct pod_variable *environment;
    size_t environment_count;
    struct pod_mount *mounts;
    size_t mount_count;

    /* From the status: */
    char *id; /* without "containerd://"; NULL: not created yet */
    bool running, ready;
    bool failed; /* ended, and not with status 0 */
    int restarts;
};

enum pod_volume_kind { POD_VOLUME_CLAIM, POD_VOLUME_EMPTY, POD_VOLUME_HOST, POD_VOLUME_OTHER };

struct pod_volume {
    char *name;
    enum pod_volume_kind kind;
    char *claim; /* of POD_VOLUME_CLAIM */
    bool read_only;
};

enum pod_phase { POD_PENDING, POD_RUNNING, POD_ENDED, POD_UNKNOWN };

struct pod {
    char *namespace, *name, *uid, *resource_version;
    char *node;
    char *job, *job_uid;          /* the Job that controls it; NULL: none */
    json_t *labels, *annotations; /* only those of protocols (never NULL) */
    enum pod_phase phase;
    bool deleted; /* it is on its way out */
    bool ready, initialized;
    bool capture_told, restore_told; /* a condition says how it ended */
    bool has_address;
    struct pod_container *containers;
    size_t container_count;
    struct pod_volume *volumes;
    size_t volume_count;
};

/* NULL when it has no name, namespace or uid. */
struct pod *pod_read(const json_t *object);

/* NULL is accepted. */
void pod_free(struct pod *pod);

/* NULL: none of that name. The value may be "". */
const char *pod_label(const struct pod *pod, const char *key);
const char *pod_annotation(const struct pod *pod, const char *key);
const char *container_variable(const struct pod_container *container, const char *name);

/* By name; NULL: none. */
const struct pod_container *pod_container(const struct pod *pod, const char *name);

/* The mount at exactly `path`, and the volume that is there; NULL: none. */
const struct pod_mount *container_mount(const struct pod_container *container, const char *path);
const struct pod_volume *pod_volume_at(const struct pod *pod, const struct pod_container *container,
                                       const char *path);
