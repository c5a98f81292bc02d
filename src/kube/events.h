/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of core/v1, which people see with `kubectl describe`. Told and forgotten: whatever goes
 * wrong with them holds up nothing. The same reason, type and message for the same object within
 * ten minutes only counts up the first one; each object may have 25 at once and then one every ten
 * seconds. At most 64 wait to be written; what is too much is dropped and counted.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "kube/client.h"

struct kube_recorder;

/* `component`: who reports ("snapshot-agent"); `instance`: which one (the node's name). */
struct kube_recorder *kube_recorder_new(struct kube_client *client, const char *component,
                                        const char *instance);

void kube_recorder_free(struct kube_recorder *recorder);

/* What an event is about. Texts are copied. */
struct kube_involved {
    const char *api_version; /* "v1" */
    const char *kind;        /* "Pod" */
    const char *namespace;   /* NULL or "": a kind that has none; its events go to "default" */
    const char *name;
    const char *uid;
    const char *resource_version; /* may be NULL */
    const char *field_path;       /* "spec.containers{main}"; may be NULL */
};

/* The involved object of a tree; it borrows from it. `kind` and `api_version` are of the caller, as
 * the items of lists have none. */
struct kube_involved kube_involved_of(const json_t *object, const char *api_version,
                                      const char *kind);

enum kube_event_type { KUBE_EVENT_NORMAL, KUBE_EVENT_WARNING };

/* `reason`: one word, CamelCase; `message`: for people, cut off at 1,024 bytes. */
void kube_event(struct kube_recorder *recorder, const struct kube_involved *involved,
                enum kube_event_type type, const char *reason, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

struct kube_recorder_counts {
    uint64_t written, counted_up, dropped, failed;
};

struct kube_recorder_counts kube_recorder_counts(const struct kube_recorder *recorder);
