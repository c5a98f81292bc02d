/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An order: one operation on one container, as it goes from the agent's loop, which has no rights,
 * to the executor, which has them, and into the journal. It holds what concerns the pod; what
 * concerns the node (where snapshots are, which runtime) the executor knows itself.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "basic/error.h"

enum order_kind {
    ORDER_CAPTURE,
    ORDER_RESTORE,
    ORDER_TELL, /* tell a container how its capture or restore went, when that could not */
    ORDER_LIST, /* which snapshots there are */
};

struct order {
    enum order_kind kind;
    char *key;      /* names the operation, in the journal too: [A-Za-z0-9._-] */
    char *protocol; /* for people */
    char *namespace, *pod, *uid, *container;
    char *container_id; /* NULL: whichever runs */
    char *id;
    char *version;     /* NULL: the next, or the newest */
    char *claim_path;  /* NULL: the agent's own volume */
    char *signal_file; /* each NULL: none */
    char *control;
    char *marker;
    bool signals;
    bool leave_alone;   /* only into a container that waits for a restore by itself */
    bool last;          /* there will be no other attempt: the workload is told of a failure */
    bool kill;          /* of ORDER_TELL, and of a failed ORDER_RESTORE: end the container */
    bool success;       /* of ORDER_TELL */
    bool of_restore;    /* of ORDER_TELL */
    char *problem;      /* of ORDER_TELL: what is told; NULL: none is known */
    char *problem_code; /* not NULL: the pod asked wrongly, and all that is done is to tell so */
};

#define ORDER_KEY_MAXIMUM 240

void order_done(struct order *order);

/* A path in a container: absolute, without "..", "//" and excess. Names in it may still be links.
 */
bool order_path_is_plain(const char *path);

/* "capture", "restore", "tell", "list" */
const char *order_kind_name(enum order_kind kind);

/* A new reference. */
json_t *order_to_json(const struct order *order);

/* Everything is checked: names and ids have the form that they have in Kubernetes, paths are
 * absolute and without "..". "agent-order" */
int order_from_json(const json_t *json, struct order *ret_order, struct error *error);
