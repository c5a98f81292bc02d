/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into the JSON tree of an object of the API, and the paths of objects. What is not there,
 * or of another type than asked for, is NULL or 0: the server's word is not trusted to have a form.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The value at a path of member names: kube_get(pod, "status", "phase"). NULL when there is none.
 */
#define kube_get(object, ...) kube_get_at((object), (const char *const[]){__VA_ARGS__, NULL})

/* The same for a text and for a whole number. Texts are borrowed from the tree. */
#define kube_text(object, ...) kube_text_at((object), (const char *const[]){__VA_ARGS__, NULL})
#define kube_number(object, ...) kube_number_at((object), (const char *const[]){__VA_ARGS__, NULL})

json_t *kube_get_at(const json_t *object, const char *const *names);
const char *kube_text_at(const json_t *object, const char *const *names);
int64_t kube_number_at(const json_t *object, const char *const *names);

/* "" where there is none, so that they can be compared. */
const char *kube_name(const json_t *object);
const char *kube_namespace(const json_t *object);
const char *kube_uid(const json_t *object);
const char *kube_resource_version(const json_t *object);

const char *kube_label(const json_t *object, const char *key);      /* NULL: none */
const char *kube_annotation(const json_t *object, const char *key); /* NULL: none */

/* The entry of status.conditions of a type; NULL: none. */
json_t *kube_condition(const json_t *object, const char *type);

/* Whether it is there and "True". */
bool kube_condition_is_true(const json_t *object, const char *type);

/* A kind of object, in the words of URLs. */
struct kube_resource {
    const char *api;    /* "v1", "batch/v1", "nvidia.com/v1alpha1" */
    const char *plural; /* "pods" */
};

extern const struct kube_resource kube_pods, kube_nodes, kube_jobs, kube_events, kube_leases,
    kube_secrets, kube_config_maps, kube_persistent_volume_claims;

/* "/api/v1/namespaces/default/pods/name/status". `namespace` NULL: all, or a kind that has none;
 * `name` and `subresource` may be NULL. Names are encoded. The caller frees it. */
char *kube_path(const struct kube_resource *resource, const char *namespace, const char *name,
                const char *subresource);

/* Text for one side of '=' in a query. The caller frees it. */
char *kube_encode(const char *text);

/* "2026-11-21T10:11:12Z" and, with six digits of a second, what leases have. The caller frees it.
 */
char *kube_time(int64_t date_usec);
char *kube_micro_time(int64_t date_usec);

/* Both forms, and any number of digits; 0 or -EINVAL. */
int kube_time_parse(const char *text, int64_t *ret_date_usec);
