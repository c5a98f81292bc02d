/* SPDX-License-Identifier: Apache-2.0 */
#include "agent-pods.h"

#include <stdio.h>
#include <string.h>

#include "agent/words.h"
#include "basic/text.h"
#include "kube/object.h"

static const char *label_of(const struct sim_pod *pod)
{
    static const char *const labels[2][PROTOCOL_COUNT] = {
        {LABEL_SOURCE_STANDALONE, LABEL_SOURCE_CHREK, LABEL_SOURCE_SNAPSHOT, LABEL_SOURCE_SNAPSHOT},
        {NULL, LABEL_TARGET_CHREK, LABEL_TARGET_SNAPSHOT, LABEL_TARGET_SNAPSHOT}};

    return labels[pod->kind][pod->protocol];
}

static const char *hash_of(const struct sim_pod *pod)
{
    static const char *const labels[] = {LABEL_HASH_STANDALONE, LABEL_HASH_CHREK,
                                         LABEL_HASH_SNAPSHOT, LABEL_ID_SNAPSHOT};

    return labels[pod->protocol];
}

static json_t *labels_of(const struct sim_pod *pod)
{
    json_t *labels = json_object();

    if (label_of(pod))
        (void)json_object_set_new(labels, label_of(pod),
                                  pod->labelled ? json_string("true") : json_null());
    if (pod->kind == WISH_CAPTURE || pod->protocol != PROTOCOL_STANDALONE)
        (void)json_object_set_new(labels, hash_of(pod),
                                  pod->labelled ? json_string(pod->mistaken ? ".." : "abc")
                                                : json_null());
    return labels;
}

static json_t *spec_of(const struct sim_pod *pod)
{
    json_t *environment = json_array(), *mounts = json_array(), *volumes = json_array();

    if (pod->protocol == PROTOCOL_STANDALONE) {
        (void)json_array_append_new(environment,
                                    json_pack("{ss ss}", "name", VARIABLE_HASH, "value", "abc"));
        if (pod->kind == WISH_CAPTURE)
            (void)json_array_append_new(
                environment,
                json_pack("{ss ss}", "name", VARIABLE_SIGNAL_FILE, "value", "/signal/done"));
    }
    if (pod->protocol == PROTOCOL_CONTROL) {
        (void)json_array_append_new(
            mounts, json_pack("{ss ss}", "name", "control", "mountPath", CONTROL_DIRECTORY));
        (void)json_array_append_new(volumes, json_pack("{ss s{}}", "name", "control", "emptyDir"));
    }
    return json_pack("{ss s[{ss so so}] so}", "nodeName", "n1", "containers", "name", "main", "env",
                     environment, "volumeMounts", mounts, "volumes", volumes);
}

static json_t *state_of(const struct sim_pod *pod)
{
    if (pod->life == LIFE_RUNNING)
        return json_pack("{s{}}", "running");
    if (pod->life == LIFE_ENDED)
        return json_pack("{s{si}}", "terminated", "exitCode", pod->failed);
    return json_pack("{s{}}", "waiting");
}

static json_t *status_of(const struct sim_pod *pod)
{
    static const char *const phases[] = {"Pending", "Pending", "Running", "Succeeded", ""};
    const char *phase = pod->life == LIFE_ENDED && pod->failed ? "Failed" : phases[pod->life];
    bool ready = pod->life == LIFE_RUNNING && pod->ready;
    json_t *container = json_pack("{ss so sb si}", "name", "main", "state", state_of(pod), "ready",
                                  ready, "restartCount", (int)pod->restarts);

    if (pod->life >= LIFE_RUNNING)
        (void)json_object_set_new(container, "containerID",
                                  json_sprintf("containerd://%s", pod->id));
    return json_pack("{ss s[{ss ss}{ss ss}] s[o]}", "phase", phase, "conditions", "type", "Ready",
                     "status", ready ? "True" : "False", "type", "Initialized", "status",
                     pod->life >= LIFE_INITIALIZED ? "True" : "False", "containerStatuses",
                     container);
}

static void publish(const struct sim_pod *pod, struct fake_server *server)
{
    json_t *patch =
        json_pack("{s{so} so}", "metadata", "labels", labels_of(pod), "status", status_of(pod));

    if (pod->deleted)
        (void)json_object_set_new(json_object_get(patch, "metadata"), "deletionTimestamp",
                                  json_string("2026-01-01T00:00:00Z"));
    fake_server_merge(server, PODS_PATH, pod->name, patch);
}

static void create(struct sim_pod *pod, struct fake_server *server)
{
    json_t *object = json_pack("{s{ss ss} so so}", "metadata", "name", pod->name, "namespace",
                               "sim", "spec", spec_of(pod), "status", status_of(pod));
    json_t *metadata = json_object_get(object, "metadata");

    (void)json_object_set_new(metadata, "labels", labels_of(pod));
    if (pod->job) {
        fake_server_merge(server, JOBS_PATH, pod->name,
                          json_pack("{s{ss}}", "metadata", "name", pod->name));
        (void)json_object_set_new(
            metadata, "ownerReferences",
            json_pack("[{ss ss ss sb}]", "kind", "Job", "name", pod->name, "uid",
                      kube_uid(fake_server_find(server, JOBS_PATH, pod->name)), "controller", 1));
    }
    fake_server_merge(server, PODS_PATH, pod->name, object);
    (void)snprintf(pod->uid, sizeof pod->uid, "%s",
                   kube_uid(fake_server_find(server, PODS_PATH, pod->name)));
}

/* Names come again, ids of containers do not. */
void sim_pod_make(struct sim_pod *pod, struct fake_server *server, unsigned number,
                  uint64_t *random)
{
    *pod = (struct sim_pod){.number = number,
                            .kind = fake_random(random) % 2 ? WISH_CAPTURE : WISH_RESTORE,
                            .protocol = fake_random(random) % PROTOCOL_COUNT,
                            .labelled = true};
    pod->job = pod->kind == WISH_CAPTURE && fake_random(random) % 4 > 0;
    (void)snprintf(pod->name, sizeof pod->name, "pod-%u", number);
    create(pod, server);
}

static void start_container(struct sim_pod *pod, uint64_t *random)
{
    (void)snprintf(pod->id, sizeof pod->id, "%08x%08x%u", fake_random(random), fake_random(random),
                   pod->restarts);
}

void sim_pod_step(struct sim_pod *pod, struct fake_server *server, uint64_t *random)
{
    if (pod->life == LIFE_GONE || pod->life == LIFE_ENDED)
        return;
    if (pod->life < LIFE_RUNNING) {
        pod->life++;
        if (pod->life == LIFE_RUNNING)
            start_container(pod, random);
    } else if (pod->kind == WISH_RESTORE && fake_random(random) % 3 == 0) {
        pod->restarts++;
        start_container(pod, random);
    } else {
        pod->ready = !pod->ready;
    }
    publish(pod, server);
}

static void remove_pod(struct sim_pod *pod, struct fake_server *server)
{
    pod->life = LIFE_GONE;
    fake_server_put(server, PODS_PATH, pod->name, NULL);
    if (pod->job)
        fake_server_put(server, JOBS_PATH, pod->name, NULL);
}

void sim_pod_calm(struct sim_pod *pod, struct fake_server *server)
{
    uint64_t random = pod->number;

    if (pod->life == LIFE_GONE)
        return;
    if (pod->deleted) {
        remove_pod(pod, server);
        return;
    }
    if (pod->life < LIFE_RUNNING) {
        pod->life = LIFE_RUNNING;
        start_container(pod, &random);
    }
    pod->ready = pod->labelled = true;
    pod->mistaken = false;
    publish(pod, server);
}

void sim_pod_delete(struct sim_pod *pod, struct fake_server *server)
{
    if (pod->life == LIFE_GONE)
        return;
    if (pod->deleted) {
        remove_pod(pod, server);
        return;
    }
    pod->deleted = true;
    publish(pod, server);
}

void sim_pod_relabel(struct sim_pod *pod, struct fake_server *server, bool labelled)
{
    if (pod->life == LIFE_GONE)
        return;
    pod->labelled = labelled;
    publish(pod, server);
}

void sim_pod_mistake(struct sim_pod *pod, struct fake_server *server)
{
    if (pod->life == LIFE_GONE)
        return;
    pod->mistaken = !pod->mistaken;
    publish(pod, server);
}

void sim_pod_turn(struct sim_pod *pod, struct fake_server *server)
{
    if (pod->life == LIFE_GONE || pod->kind == WISH_RESTORE || pod->job ||
        pod->protocol == PROTOCOL_STANDALONE)
        return;
    sim_pod_relabel(pod, server, false);
    pod->kind = WISH_RESTORE;
    sim_pod_relabel(pod, server, true);
}

void sim_pod_end(struct sim_pod *pod, struct fake_server *server, bool failed)
{
    if (pod->life != LIFE_RUNNING)
        return;
    pod->life = LIFE_ENDED;
    pod->failed = failed;
    publish(pod, server);
}

const json_t *sim_pod_object(const struct sim_pod *pod, const struct fake_server *server)
{
    return pod->life == LIFE_GONE ? NULL : fake_server_find(server, PODS_PATH, pod->name);
}

const json_t *sim_pod_job(const struct sim_pod *pod, const struct fake_server *server)
{
    return pod->job ? fake_server_find(server, JOBS_PATH, pod->name) : NULL;
}
