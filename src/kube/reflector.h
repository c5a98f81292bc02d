/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the objects at one path: lists them in pages, then watches, resumes where it was after
 * any trouble, and lists again when the server has forgotten that place (410). It tells each
 * object's appearance, changes and disappearance exactly in the order of its versions; it keeps no
 * objects, only a small mark for each.
 *
 * What the receiver can rely on: "added" once for each uid, before "modified" of it; "deleted" once
 * for each "added"; when an object is replaced by another of the same name, "deleted" for the old
 * one comes first. States in between may be missing.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kube/client.h"

struct kube_reflector;

enum kube_change { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED };

struct kube_notice {
    enum kube_change change;
    const char *namespace; /* "" for kinds that have none */
    const char *name;
    const char *uid;
    json_t *object; /* borrowed; NULL for a deletion that a list has shown: nobody knows its end */
};

struct kube_reflector_options {
    const char *path;           /* kube_path(): of a collection */
    const char *label_selector; /* not encoded; NULL: none */
    const char *field_selector;

    unsigned page_size;         /* 0: 50, which bounds the memory for one page */
    unsigned watch_sec;         /* how long one watch runs; 0: between 5 and 10 minutes */
    size_t object_maximum;      /* objects followed; more is "kube-too-large"; 0: 200,000 */
    uint32_t (*random)(void *); /* NULL: of the kernel; only for jitter */
    void *random_context;

    /* All of them may free the reflector. */
    void (*notice)(const struct kube_notice *notice, void *context);
    void (*synced)(
        void *context); /* a list is complete: all there was has been told. May be NULL */

    /* Something failed; it goes on by itself after `retry_msec`. May be NULL. */
    void (*trouble)(const struct error *error, unsigned retry_msec, void *context);
    void *context;
};

/* Starts at once. The texts are copied. */
struct kube_reflector *kube_reflector_new(struct kube_client *client,
                                          const struct kube_reflector_options *options);

/* Ends it; nothing is called any more. NULL is accepted. */
void kube_reflector_free(struct kube_reflector *reflector);

bool kube_reflector_synced(const struct kube_reflector *reflector);
size_t kube_reflector_count(const struct kube_reflector *reflector);

/* For metrics: since the start. */
struct kube_reflector_counts {
    uint64_t lists, pages, watches, events, troubles;
    uint64_t last_heard_usec; /* loop_now() when the server last said something */
};

struct kube_reflector_counts kube_reflector_counts(const struct kube_reflector *reflector);
