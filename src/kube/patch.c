/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/update.h"

static char *path_of(const struct kube_reference *reference)
{
    return kube_path(reference->resource, reference->namespace, reference->name,
                     reference->subresource);
}

/* The object at a name, made when it is missing. */
static json_t *member(json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);

    if (!json_is_object(value)) {
        value = json_object();
        (void)json_object_set_new(object, name, value);
    }
    return value;
}

static void patch_map(json_t **patch, const char *map, const char *key, const char *value)
{
    if (!*patch)
        *patch = json_object();
    (void)json_object_set_new(member(member(*patch, "metadata"), map), key,
                              value ? json_string(value) : json_null());
}

void kube_patch_label(json_t **patch, const char *key, const char *value)
{
    patch_map(patch, "labels", key, value);
}

void kube_patch_annotation(json_t **patch, const char *key, const char *value)
{
    patch_map(patch, "annotations", key, value);
}

void kube_patch(struct kube_client *client, const struct kube_reference *reference,
                const json_t *patch, const char *uid, const char *resource_version,
                kube_answer_function *function, void *context, struct kube_handle **ret)
{
    CLEANUP(free_ptr) char *path = path_of(reference);
    json_t *whole = json_deep_copy(patch);
    struct kube_request request = {
        .method = "PATCH", .path = path, .content_type = KUBE_MERGE_PATCH, .body = whole};

    if (uid && *uid)
        (void)json_object_set_new(member(whole, "metadata"), "uid", json_string(uid));
    if (resource_version && *resource_version)
        (void)json_object_set_new(member(whole, "metadata"), "resourceVersion",
                                  json_string(resource_version));
    kube_send(client, &request, function, context, ret);
    json_decref(whole);
}

void kube_apply(struct kube_client *client, const struct kube_reference *reference,
                const json_t *object, const char *manager, bool force,
                kube_answer_function *function, void *context, struct kube_handle **ret)
{
    CLEANUP(free_ptr) char *path = path_of(reference);
    CLEANUP(free_ptr) char *encoded = kube_encode(manager);
    CLEANUP(free_ptr)
    char *query = text_format("fieldManager=%s&force=%s", encoded, force ? "true" : "false");
    const struct kube_request request = {.method = "PATCH",
                                         .path = path,
                                         .query = query,
                                         .content_type = KUBE_APPLY_PATCH,
                                         .body = object};

    kube_send(client, &request, function, context, ret);
}

static bool set_text(json_t *object, const char *name, const char *value)
{
    if (text_equal(kube_text(object, name), value))
        return false;
    (void)json_object_set_new(object, name, json_string(value));
    return true;
}

bool kube_condition_set(json_t *object, const char *type, const char *status, const char *reason,
                        const char *message, int64_t now_usec)
{
    json_t *condition = kube_condition(object, type), *all;
    CLEANUP(free_ptr) char *now = kube_time(now_usec);
    bool changed = false;

    if (!condition) {
        all = json_object_get(member(object, "status"), "conditions");
        if (!json_is_array(all)) {
            all = json_array();
            (void)json_object_set_new(member(object, "status"), "conditions", all);
        }
        condition = json_object();
        (void)json_object_set_new(condition, "type", json_string(type));
        (void)json_array_append_new(all, condition);
    }
    if (set_text(condition, "status", status)) {
        (void)set_text(condition, "lastTransitionTime", now);
        changed = true;
    }
    changed |= set_text(condition, "reason", reason);
    return set_text(condition, "message", message) || changed;
}
