/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pod.h"

#include <stdlib.h>
#include <string.h>

#include "agent/words.h"
#include "basic/text.h"
#include "kube/object.h"

enum { PARTS_MAXIMUM = 256 }; /* containers, volumes, mounts: more of them are not looked at */

static char *copy_of(const char *text)
{
    return text ? text_copy(text) : NULL;
}

static size_t size_of(const json_t *array)
{
    size_t size = json_array_size(array);

    return size < PARTS_MAXIMUM ? size : PARTS_MAXIMUM;
}

/* Most of what a pod carries is of no concern here. */
static json_t *keep_known(const json_t *map)
{
    json_t *kept = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)map, key, value)
    {
        if (json_is_string(value) && words_is_ours(key))
            (void)json_object_set_new(kept, key, json_string(json_string_value(value)));
    }
    return kept;
}

static void read_environment(struct pod_container *container, const json_t *list)
{
    container->environment = allocate((size_of(list) + 1) * sizeof *container->environment);
    for (size_t i = 0; i < size_of(list); i++) {
        const json_t *variable = json_array_get(list, i);
        const char *name = kube_text(variable, "name");
        const char *value = kube_text(variable, "value");

        if (!name || !words_is_variable(name))
            continue;
        container->environment[container->environment_count++] =
            (struct pod_variable){text_copy(name), text_copy(value ? value : "")};
    }
}

static void read_mounts(struct pod_container *container, const json_t *list)
{
    container->mounts = allocate((size_of(list) + 1) * sizeof *container->mounts);
    for (size_t i = 0; i < size_of(list); i++) {
        const json_t *mount = json_array_get(list, i);
        const char *name = kube_text(mount, "name");
        const char *path = kube_text(mount, "mountPath");

        if (name && path)
            container->mounts[container->mount_count++] = (struct pod_mount){
                text_copy(name), text_copy(path), json_is_true(json_object_get(mount, "readOnly"))};
    }
}

static void read_container(struct pod_container *container, const json_t *spec)
{
    container->name = copy_of(kube_text(spec, "name"));
    read_environment(container, json_object_get(spec, "env"));
    read_mounts(container, json_object_get(spec, "volumeMounts"));
}

static const json_t *status_of(const json_t *statuses, const char *name)
{
    for (size_t i = 0; i < size_of(statuses); i++) {
        const json_t *status = json_array_get(statuses, i);

        if (text_equal(kube_text(status, "name"), name))
            return status;
    }
    return NULL;
}

static void read_status(struct pod_container *container, const json_t *status)
{
    const char *id = kube_text(status, "containerID");
    const char *scheme = id ? strstr(id, "://") : NULL;
    const json_t *ended = kube_get(status, "state", "terminated");

    container->id = scheme && scheme[3] ? text_copy(scheme + 3) : NULL;
    container->running = json_is_object(kube_get(status, "state", "running"));
    container->ready = json_is_true(json_object_get(status, "ready"));
    container->failed = json_is_object(ended) && kube_number(ended, "exitCode") != 0;
    container->restarts = (int)kube_number(status, "restartCount");
}

static void read_containers(struct pod *pod, const json_t *object)
{
    const json_t *specs = kube_get(object, "spec", "containers");
    const json_t *statuses = kube_get(object, "status", "containerStatuses");

    pod->containers = allocate((size_of(specs) + 1) * sizeof *pod->containers);
    for (size_t i = 0; i < size_of(specs); i++) {
        struct pod_container *container = &pod->containers[pod->container_count];

        if (!kube_text(json_array_get(specs, i), "name"))
            continue;
        read_container(container, json_array_get(specs, i));
        read_status(container, status_of(statuses, container->name));
        pod->container_count++;
    }
}

static struct pod_volume read_volume(const json_t *volume)
{
    struct pod_volume read = {.name = text_copy(kube_text(volume, "name")),
                              .kind = POD_VOLUME_OTHER};
    const json_t *claim = json_object_get(volume, "persistentVolumeClaim");

    if (json_is_object(claim)) {
        read.kind = POD_VOLUME_CLAIM;
        read.claim = copy_of(kube_text(claim, "claimName"));
        read.read_only = json_is_true(json_object_get(claim, "readOnly"));
    } else if (json_is_object(json_object_get(volume, "emptyDir"))) {
        read.kind = POD_VOLUME_EMPTY;
    } else if (json_is_object(json_object_get(volume, "hostPath"))) {
        read.kind = POD_VOLUME_HOST;
    }
    return read;
}

static void read_volumes(struct pod *pod, const json_t *list)
{
    pod->volumes = allocate((size_of(list) + 1) * sizeof *pod->volumes);
    for (size_t i = 0; i < size_of(list); i++) {
        const json_t *volume = json_array_get(list, i);

        if (kube_text(volume, "name"))
            pod->volumes[pod->volume_count++] = read_volume(volume);
    }
}

static enum pod_phase phase_of(const json_t *object)
{
    const char *phase = kube_text(object, "status", "phase");

    if (text_equal(phase, "Running"))
        return POD_RUNNING;
    if (text_equal(phase, "Succeeded") || text_equal(phase, "Failed"))
        return POD_ENDED;
    return text_equal(phase, "Pending") || !phase ? POD_PENDING : POD_UNKNOWN;
}

static void read_job(const json_t *object, struct pod *pod)
{
    const json_t *owners = kube_get(object, "metadata", "ownerReferences");

    for (size_t i = 0; i < size_of(owners); i++) {
        const json_t *owner = json_array_get(owners, i);

        if (!text_equal(kube_text(owner, "kind"), "Job") || !kube_text(owner, "name") ||
            !json_is_true(json_object_get(owner, "controller")))
            continue;
        pod->job = copy_of(kube_text(owner, "name"));
        pod->job_uid = copy_of(kube_text(owner, "uid"));
        return;
    }
}

/* An outcome, and not that it is in progress. */
static bool is_told(const json_t *object, const char *type)
{
    const char *reason = kube_text(kube_condition(object, type), "reason");

    return reason && (text_ends_with(reason, "Succeeded") || text_ends_with(reason, "Failed"));
}

struct pod *pod_read(const json_t *object)
{
    struct pod *pod;

    if (!*kube_name(object) || !*kube_namespace(object) || !*kube_uid(object))
        return NULL;
    pod = allocate(sizeof *pod);
    pod->namespace = text_copy(kube_namespace(object));
    pod->name = text_copy(kube_name(object));
    pod->uid = text_copy(kube_uid(object));
    pod->resource_version = text_copy(kube_resource_version(object));
    pod->node = copy_of(kube_text(object, "spec", "nodeName"));
    read_job(object, pod);
    pod->labels = keep_known(kube_get(object, "metadata", "labels"));
    pod->annotations = keep_known(kube_get(object, "metadata", "annotations"));
    pod->phase = phase_of(object);
    pod->deleted = kube_text(object, "metadata", "deletionTimestamp") != NULL;
    pod->ready = kube_condition_is_true(object, "Ready");
    pod->initialized = kube_condition_is_true(object, "Initialized");
    pod->capture_told = is_told(object, CONDITION_CHECKPOINTED);
    pod->restore_told = is_told(object, CONDITION_RESTORED);
    pod->has_address = kube_text(object, "status", "podIP") != NULL;
    read_containers(pod, object);
    read_volumes(pod, kube_get(object, "spec", "volumes"));
    return pod;
}

static void container_free(struct pod_container *container)
{
    for (size_t i = 0; i < container->environment_count; i++) {
        free(container->environment[i].name);
        free(container->environment[i].value);
    }
    for (size_t i = 0; i < container->mount_count; i++) {
        free(container->mounts[i].volume);
        free(container->mounts[i].path);
    }
    free(container->environment);
    free(container->mounts);
    free(container->name);
    free(container->id);
}

void pod_free(struct pod *pod)
{
    if (!pod)
        return;
    for (size_t i = 0; i < pod->container_count; i++)
        container_free(&pod->containers[i]);
    for (size_t i = 0; i < pod->volume_count; i++) {
        free(pod->volumes[i].name);
        free(pod->volumes[i].claim);
    }
    free(pod->containers);
    free(pod->volumes);
    free(pod->namespace);
    free(pod->name);
    free(pod->uid);
    free(pod->resource_version);
    free(pod->node);
    free(pod->job);
    free(pod->job_uid);
    json_decref(pod->labels);
    json_decref(pod->annotations);
    free(pod);
}

const char *pod_label(const struct pod *pod, const char *key)
{
    return json_string_value(json_object_get(pod->labels, key));
}

const char *pod_annotation(const struct pod *pod, const char *key)
{
    return json_string_value(json_object_get(pod->annotations, key));
}

const char *container_variable(const struct pod_container *container, const char *name)
{
    for (size_t i = 0; i < container->environment_count; i++) {
        if (text_equal(container->environment[i].name, name))
            return container->environment[i].value;
    }
    return NULL;
}

const struct pod_container *pod_container(const struct pod *pod, const char *name)
{
    for (size_t i = 0; i < pod->container_count; i++) {
        if (text_equal(pod->containers[i].name, name))
            return &pod->containers[i];
    }
    return NULL;
}

const struct pod_mount *container_mount(const struct pod_container *container, const char *path)
{
    for (size_t i = 0; i < container->mount_count; i++) {
        if (text_equal(container->mounts[i].path, path))
            return &container->mounts[i];
    }
    return NULL;
}

const struct pod_volume *pod_volume_at(const struct pod *pod, const struct pod_container *container,
                                       const char *path)
{
    const struct pod_mount *mount = container_mount(container, path);

    for (size_t i = 0; mount && i < pod->volume_count; i++) {
        if (text_equal(pod->volumes[i].name, mount->volume))
            return &pod->volumes[i];
    }
    return NULL;
}
