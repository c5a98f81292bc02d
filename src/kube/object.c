/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "basic/cleanup.h"
#include "basic/text.h"

const struct kube_resource kube_pods = {"v1", "pods"}, kube_nodes = {"v1", "nodes"},
                           kube_jobs = {"batch/v1", "jobs"}, kube_events = {"v1", "events"},
                           kube_leases = {"coordination.k8s.io/v1", "leases"},
                           kube_secrets = {"v1", "secrets"},
                           kube_config_maps = {"v1", "configmaps"},
                           kube_persistent_volume_claims = {"v1", "persistentvolumeclaims"};

json_t *kube_get_at(const json_t *object, const char *const *names)
{
    const json_t *at = object;

    for (; at && *names; names++)
        at = json_object_get(at, *names);
    return (json_t *)(uintptr_t)at; /* as jansson's own getters: the tree's owner may change it */
}

const char *kube_text_at(const json_t *object, const char *const *names)
{
    return json_string_value(kube_get_at(object, names));
}

int64_t kube_number_at(const json_t *object, const char *const *names)
{
    return json_integer_value(kube_get_at(object, names));
}

static const char *metadata(const json_t *object, const char *name)
{
    const char *text = kube_text(object, "metadata", name);

    return text ? text : "";
}

const char *kube_name(const json_t *object)
{
    return metadata(object, "name");
}

const char *kube_namespace(const json_t *object)
{
    return metadata(object, "namespace");
}

const char *kube_uid(const json_t *object)
{
    return metadata(object, "uid");
}

const char *kube_resource_version(const json_t *object)
{
    return metadata(object, "resourceVersion");
}

const char *kube_label(const json_t *object, const char *key)
{
    return kube_text(object, "metadata", "labels", key);
}

const char *kube_annotation(const json_t *object, const char *key)
{
    return kube_text(object, "metadata", "annotations", key);
}

json_t *kube_condition(const json_t *object, const char *type)
{
    const json_t *conditions = kube_get(object, "status", "conditions");
    size_t index;
    json_t *condition;

    json_array_foreach(conditions, index, condition)
    {
        if (text_equal(kube_text(condition, "type"), type))
            return condition;
    }
    return NULL;
}

bool kube_condition_is_true(const json_t *object, const char *type)
{
    return text_equal(kube_text(kube_condition(object, type), "status"), "True");
}

char *kube_encode(const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    static const char digits[] = "0123456789ABCDEF";
    char *encoded = allocate(strlen(text) * 3 + 1), *to = encoded;

    for (const unsigned char *from = (const unsigned char *)text; *from; from++) {
        if (strchr(plain, *from)) {
            *to++ = (char)*from;
        } else {
            *to++ = '%';
            *to++ = digits[*from >> 4];
            *to++ = digits[*from & 15];
        }
    }
    return encoded;
}

/* "/name", encoded, or nothing. A name that is "." or ".." would be taken for a step. */
static char *segment(const char *before, const char *name)
{
    CLEANUP(free_ptr) char *encoded = name ? kube_encode(name) : NULL;

    if (!name)
        return text_copy("");
    if (text_equal(name, ".") || text_equal(name, ".."))
        return text_format("%s/%s", before, name[1] ? "%2E%2E" : "%2E");
    return text_format("%s/%s", before, encoded);
}

char *kube_path(const struct kube_resource *resource, const char *namespace, const char *name,
                const char *subresource)
{
    CLEANUP(free_ptr) char *space = segment("/namespaces", namespace);
    CLEANUP(free_ptr) char *object = segment("", name);
    CLEANUP(free_ptr) char *part = segment("", subresource);

    return text_format("/%s/%s%s/%s%s%s", strchr(resource->api, '/') ? "apis" : "api",
                       resource->api, space, resource->plural, object, part);
}

static char *format_time(int64_t date_usec, bool micro)
{
    time_t seconds = (time_t)(date_usec / 1000000);
    struct tm utc = {0};
    char date[32] = "";

    (void)gmtime_r(&seconds, &utc);
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    return micro ? text_format("%s.%06dZ", date, (int)(date_usec % 1000000))
                 : text_format("%sZ", date);
}

char *kube_time(int64_t date_usec)
{
    return format_time(date_usec, false);
}

char *kube_micro_time(int64_t date_usec)
{
    return format_time(date_usec, true);
}

int kube_time_parse(const char *text, int64_t *ret_date_usec)
{
    struct tm utc = {0};
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    int64_t fraction = 0, unit = 100000;

    if (!at)
        return -EINVAL;
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10)
            fraction += (*at - '0') * unit;
    }
    if (!text_equal(at, "Z"))
        return -EINVAL;
    *ret_date_usec = (int64_t)timegm(&utc) * 1000000 + fraction;
    return 0;
}
