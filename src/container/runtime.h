/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers of this machine, whoever runs them. Two back ends behind one structure: the interface
 * that container runtimes offer to a kubelet (CRI: containerd, CRI-O), and the files that OCI
 * runtimes (runc, crun) and containerd keep about running containers, for those without CRI
 * (Docker, podman, ctr).
 *
 * Whatever finds a container finds one that has a process now, checks that this very process is
 * the container's, and names it by pid and start time. Errors of the finding functions, besides
 * those of http/grpc.h for CRI:
 *   "runtime-missing"        no runtime to ask                            -ENOENT
 *   "container-missing"      no such container                            -ENOENT
 *   "container-ambiguous"    several are meant; the message lists them    -EEXIST
 *   "container-not-running"  it has no process (any more, or not yet)     -ESRCH
 *   "container-process"      the process that is named is another one     -ESRCH
 *   "container-record"       what the runtime tells can't be used         -EBADMSG
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

enum container_state {
    CONTAINER_CREATED, /* its program has not been started yet */
    CONTAINER_RUNNING,
    CONTAINER_PAUSED, /* its control group is frozen */
    CONTAINER_EXITED,
    CONTAINER_UNKNOWN,
};

/* All strings are free of control characters. What a back end does not know is NULL (or 0). */
struct container {
    char *id;
    char *name;         /* within its pod */
    char *image;        /* as a person wrote it */
    char *image_digest; /* "sha256:…" of the image in its registry, or of its configuration when it
                           came from none */
    char *pod_name, *pod_namespace, *pod_uid;
    char *sandbox_id;
    char *runtime; /* "containerd 2.1.6", "runc" */
    char *bundle;  /* directory with config.json */
    enum container_state state;
    pid_t pid; /* first process, as seen from here; 0: none, or not asked for (runtime_list) */
    uint64_t start_time;  /* of that process, in clock ticks since boot */
    json_t *labels;       /* object of strings */
    json_t *annotations;  /* object of strings */
    json_t *spec;         /* OCI runtime spec (container/oci-spec.h reads it) */
    char **pod_addresses; /* NULL-terminated; without any in the network of the machine */
};

#define CONTAINER_INIT ((struct container){.state = CONTAINER_UNKNOWN})

struct container_list {
    struct container *containers;
    size_t count;
};

#define CONTAINER_LIST_INIT ((struct container_list){0})

void container_done(struct container *container);

/* What is known of it, for a manifest: names, image, pod. Environment and spec stay out: they hold
 * secrets. A new reference. */
json_t *container_facts(const struct container *container);
void container_list_done(struct container_list *list);

/* "created", "running", … */
const char *container_state_name(enum container_state state);

/* Finds a container. With an `endpoint` only that is asked, by CRI. Otherwise the files of OCI
 * runtimes are looked at (those below `state_directory` first when it is not NULL), then the usual
 * CRI sockets are asked. `text` as in runtime_find; files know ids only, no names. */
int container_find(const char *endpoint, const char *state_directory, const char *text,
                   struct container *ret, struct error *error);

/* The same by files alone. `state_directory`: a directory of state of runc or crun (--root), or of
 * containerd (its setting "state"); looked at before the usual ones. `text` is an id or the unique
 * beginning of one. */
int container_find_by_state(const char *text, const char *state_directory, struct container *ret,
                            struct error *error);

/* Every call to the runtime ends within this time. */
#define RUNTIME_TIMEOUT_MSEC 10000

struct runtime;

/* Connects to a runtime by CRI. `endpoint`: "unix:///path" or a path; NULL: what the environment
 * variable CONTAINER_RUNTIME_ENDPOINT names (then no other), or else the first of the usual
 * sockets that answers. */
int runtime_open(const char *endpoint, unsigned timeout_msec, struct runtime **ret,
                 struct error *error);

void runtime_free(struct runtime *runtime);

/* "containerd 2.1.6" and the path of its socket; they live as long as the runtime. */
const char *runtime_version(const struct runtime *runtime);
const char *runtime_socket(const struct runtime *runtime);

/* All containers: what can be told without asking for each (no process, no spec, no addresses). */
int runtime_list(struct runtime *runtime, struct container_list *ret, struct error *error);

/* Finds one and fills everything. `text` is a full id; else "NAMESPACE/POD/NAME" or the NAME of a
 * container that is unique among those running; else the unique beginning of an id. */
int runtime_find(struct runtime *runtime, const char *text, struct container *ret,
                 struct error *error);

enum container_event_type {
    CONTAINER_EVENT_CREATED,
    CONTAINER_EVENT_STARTED,
    CONTAINER_EVENT_STOPPED,
    CONTAINER_EVENT_DELETED,
};

struct container_event {
    enum container_event_type type;
    const char *id;
    int64_t nanoseconds; /* since 1970 */
};

/* 0: go on; 1: enough; negative: that error. It may ask the runtime. */
typedef int container_event_function(const struct container_event *event, void *context,
                                     struct error *error);

/* Tells what happens, pod sandboxes included (containerd also tells what has happened before and
 * was told to nobody), until `handle` has had enough or `timeout_msec` (not 0) are over, which is
 * success. "grpc-unsupported": the runtime has no such events (containerd before 1.7). */
int runtime_events(struct runtime *runtime, unsigned timeout_msec, container_event_function *handle,
                   void *context, struct error *error);
