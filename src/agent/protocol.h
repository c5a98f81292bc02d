/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod asks for, in the protocol that it speaks. Pure: a pod and settings in, wishes out.
 *
 *   standalone  ChReK alone: the label nvidia.com/checkpoint-source, a signal file in the container
 *   chrek       ChReK with Dynamo: nvidia.com/chrek-is-checkpoint-source, signals to process 1
 *   signals     Dynamo Snapshot 1.0: nvidia.com/snapshot-is-checkpoint-source, signals to process 1
 *   control     Dynamo Snapshot 1.1 on: the same labels, files in a control volume
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/pod.h"
#include "basic/error.h"

enum protocol { PROTOCOL_STANDALONE, PROTOCOL_CHREK, PROTOCOL_SIGNALS, PROTOCOL_CONTROL };

enum { PROTOCOL_COUNT = PROTOCOL_CONTROL + 1 };

enum wish_kind { WISH_CAPTURE, WISH_RESTORE };

/* One container of a pod to be saved, or to be restored into. Texts are borrowed from the pod. */
struct wish {
    enum wish_kind kind;
    enum protocol protocol;
    const char *container;
    const char *id;
    const char *version;     /* NULL: the next one; of a restore: the newest */
    const char *claim_path;  /* where the container has the volume with snapshots; NULL: the agent
                                has it */
    const char *signal_file; /* told there how it went; NULL: not so */
    const char *control;     /* control directory in the container; NULL: none */
    const char *marker;      /* file that a restored process looks for; NULL: none */
    bool signals;            /* SIGUSR1 and SIGCONT to its first process */
    bool several;            /* more than one container is meant: annotations name them */
    bool invalid;            /* asked for wrongly: is told so, and nothing else is done */
};

enum { WISHES_MAXIMUM = 32 };

struct wishes {
    struct wish list[WISHES_MAXIMUM];
    size_t count;
};

/* What of the settings matters here. */
struct protocol_rules {
    bool enabled[PROTOCOL_COUNT];
    bool pod_mount;   /* the snapshots are in a volume of the pod, not of the agent */
    const char *base; /* where containers are expected to have it */
};

/* "standalone", … */
const char *protocol_name(enum protocol protocol);

/* No wishes: the pod asks for nothing (or in a protocol that is off). A pod that asks wrongly is
 * an error, for people to read: "pod-id", "pod-container", "pod-storage", "pod-control",
 * "pod-path", "pod-version"; its wishes, as far as they can be told, are there and invalid: none of
 * them has an id, a version or a control directory that is not sound. */
int protocol_read(const struct pod *pod, const struct protocol_rules *rules,
                  struct wishes *ret_wishes, struct error *error);
