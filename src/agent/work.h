/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's picture of its node: pods, and for each container that is to be saved or restored
 * into, how far that is. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/decide.h"
#include "agent/order.h"
#include "agent/pod.h"
#include "agent/protocol.h"

struct hold;
struct node;
struct node_pod;

struct work {
    struct work *next;
    struct node_pod *owner;
    enum wish_kind kind;
    char *container;
    struct wish wish; /* valid while `wanted`; borrowed from the pod */
    bool wanted;      /* the pod asks for it now */
    enum work_state state;
    unsigned attempts; /* failed ones */
    unsigned losses;   /* operations that were killed */
    unsigned serial;   /* of the last operation: the keys of all are different */
    unsigned waits;    /* how often its container was not there */
    bool cancelled;
    bool announced; /* by an event */
    bool reported;  /* the world knows how it went */
    bool telling;   /* somebody is at it */
    unsigned words; /* how often that went wrong */
    bool told;      /* the workload knows how its capture went, or need not */
    char *container_id;
    uint64_t not_before_usec;
    uint64_t queued; /* order in the queue */
    uint64_t ready_usec, began_usec;
    char *key;         /* of the operation that runs or ran last; NULL: none */
    struct hold *hold; /* of the lease of its Job; NULL: not held */
    json_t *result;    /* of it; NULL: none yet */
};

struct node_pod {
    struct node_pod *next;
    char *uid;
    struct pod *pod; /* NULL: known from the journal only, so far */
    struct work *works;
    char
        *complaint; /* code of what is wrong with its request, as it was last told; NULL: nothing */
    char *complaint_text;
};

struct node {
    struct node_pod *pods;
    uint64_t queue_tail;
};

/* Makes it when there is none. */
struct node_pod *node_get(struct node *node, const char *uid);
struct node_pod *node_find(const struct node *node, const char *uid);

/* Takes the pod over. */
void node_pod_set(struct node_pod *entry, struct pod *pod);

/* Makes it when there is none. */
struct work *node_pod_work(struct node_pod *entry, enum wish_kind kind, const char *container);

/* Which works the wishes are, and which are wanted no more: these leave the queue. */
void node_pod_wish(struct node_pod *entry, const struct wishes *wishes);

struct work *node_find_work(const struct node *node, const char *key);
size_t node_count(const struct node *node, enum wish_kind kind, enum work_state state);

/* The one that waits longest for a container that nothing is done to. */
struct work *node_first_queued(const struct node *node, enum wish_kind kind);

void node_remove(struct node *node, struct node_pod *entry);
void node_done(struct node *node);

/* "capture", "restore" */
const char *wish_kind_name(enum wish_kind kind);

bool work_succeeded(const struct work *work);

/* A new operation's key, which becomes the work's. */
const char *work_new_key(struct work *work);

/* That of its operation of a number; the caller frees it. */
char *work_key(const struct work *work, unsigned serial);

/* The number at the end of a key. */
unsigned work_serial(const char *key);

/* The work that an order of the journal belongs to, and its serial number; NULL: of no pod. */
struct work *node_adopt(struct node *node, const struct order *order);

struct work_view work_view(const struct work *work);
