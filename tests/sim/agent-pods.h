/* SPDX-License-Identifier: Apache-2.0 */
/* Pods of a simulated node, as a kubelet and users would have them: what is true of each, and how
 * the API server hears of it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/protocol.h"
#include "fake-server.h"

#define PODS_PATH "/api/v1/namespaces/sim/pods"
#define JOBS_PATH "/apis/batch/v1/namespaces/sim/jobs"
#define LEASES_PATH "/apis/coordination.k8s.io/v1/namespaces/sim/leases"

enum life { LIFE_PENDING, LIFE_INITIALIZED, LIFE_RUNNING, LIFE_ENDED, LIFE_GONE };

struct sim_pod {
    char name[32], uid[64], id[80]; /* of its container */
    unsigned number;
    enum wish_kind kind;
    enum protocol protocol;
    bool job;
    enum life life;
    bool ready, failed, deleted, labelled, mistaken;
    unsigned restarts;

    /* What operations did, as their executor knows it. */
    unsigned running;     /* at this moment */
    unsigned failures[2]; /* by kind: attempts that failed since one went well */
    unsigned losses[2];   /* and those that were killed */
    bool failed_for_good[2], succeeded[2];
    bool silent[2];                /* the last attempt failed without a word to the workload */
    bool told[2], told_success[2]; /* the workload, by a word of its own */
};

void sim_pod_make(struct sim_pod *pod, struct fake_server *server, unsigned number,
                  uint64_t *random);

/* One step of its life. */
void sim_pod_step(struct sim_pod *pod, struct fake_server *server, uint64_t *random);

/* To where it stays. */
void sim_pod_calm(struct sim_pod *pod, struct fake_server *server);

/* The pod is asked to end. */
void sim_pod_delete(struct sim_pod *pod, struct fake_server *server);

/* What it asks for changes: to nothing and back, or, of a source, to a restore. */
void sim_pod_relabel(struct sim_pod *pod, struct fake_server *server, bool labelled);
/* To no id of a snapshot, and back. */
void sim_pod_mistake(struct sim_pod *pod, struct fake_server *server);
void sim_pod_turn(struct sim_pod *pod, struct fake_server *server);

/* Its program ends by itself. */
void sim_pod_end(struct sim_pod *pod, struct fake_server *server, bool failed);

/* As the API server has it; NULL: it is gone. */
const json_t *sim_pod_object(const struct sim_pod *pod, const struct fake_server *server);
const json_t *sim_pod_job(const struct sim_pod *pod, const struct fake_server *server);
