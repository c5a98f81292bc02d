/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing objects. All are asynchronous, as kube_send() is, and end in the same kind of function.
 * A change that may have happened without us hearing of it (lost answer) is safe to make again:
 * patches say what is to be, and a read-modify-write that has happened shows in the next read.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "kube/client.h"
#include "kube/object.h"

/* Which object. Texts are copied by those who take it. */
struct kube_reference {
    const struct kube_resource *resource;
    const char *namespace; /* NULL: of a kind that has none */
    const char *name;
    const char *subresource; /* "status"; NULL: none */
};

/* A merge patch (RFC 7386). `uid` and `resource_version`: only if the object still has them ("" or
 * NULL: whatever it has); else "kube-conflict". */
void kube_patch(struct kube_client *client, const struct kube_reference *reference,
                const json_t *patch, const char *uid, const char *resource_version,
                kube_answer_function *function, void *context, struct kube_handle **ret);

/* A patch that gives a label or annotation a value, or takes it away (NULL); call it again to add
 * more. Starts with *patch NULL. */
void kube_patch_label(json_t **patch, const char *key, const char *value);
void kube_patch_annotation(json_t **patch, const char *key, const char *value);

/* Server-side apply: `object` with apiVersion, kind and what we care for. `force` takes fields over
 * from other managers. */
void kube_apply(struct kube_client *client, const struct kube_reference *reference,
                const json_t *object, const char *manager, bool force,
                kube_answer_function *function, void *context, struct kube_handle **ret);

/* Sets a condition in status.conditions of a tree: replaces the entry of its type or adds one;
 * lastTransitionTime is set to `now_usec` (since 1970) only when the status changes. Returns
 * whether anything but that time has changed. */
bool kube_condition_set(json_t *object, const char *type, const char *status, const char *reason,
                        const char *message, int64_t now_usec);

struct kube_update;

/* Changes the tree that was read. Pure: it may run several times, on newer trees. 1: write it;
 * 0: nothing to do, the update ends well with what was read; negative: give up with that error. */
typedef int kube_modify_function(json_t *object, void *context, struct error *error);

struct kube_update_options {
    struct kube_reference reference;
    const char *uid;       /* only if the object still has it, else "kube-conflict"; NULL: any */
    const json_t *initial; /* create it so when there is none (modified first); NULL: then
                              "kube-not-found" */
    kube_modify_function *modify;
    kube_answer_function *done; /* called once, with the object as it is now, unless cancelled */
    void *context;
    unsigned attempts; /* 0: 8 */
};

/* Reads, modifies, writes, and begins again when somebody else wrote in between (or the answer was
 * lost, or the server had trouble), after a short growing pause. The handle is valid until `done`
 * is called. */
struct kube_update *kube_update_start(struct kube_client *client,
                                      const struct kube_update_options *options);

void kube_update_cancel(struct kube_update *update);

/* The same for programs of people: until done. */
int kube_update_call(struct kube_client *client, const struct kube_update_options *options,
                     json_t **ret_object, struct error *error);
