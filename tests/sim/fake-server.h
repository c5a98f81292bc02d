/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small API server behind the transport of the client, in the loop of a simulation: objects of
 * any path with resource versions, pages, watches with a history that is forgotten (410),
 * preconditions, and everything that goes wrong with servers and networks. What it does follows
 * from its seed.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kube/transport.h"
#include "loop/loop.h"

struct fake_server;

struct fake_rates {    /* in a thousand */
    unsigned refuse;   /* no connection */
    unsigned lose;     /* the request was carried out, its answer is lost */
    unsigned silent;   /* no answer ever: what is waited for runs out of time */
    unsigned throttle; /* 429 */
    unsigned trouble;  /* 500 */
    unsigned cut;      /* a watch breaks, for each event */
    unsigned repeat;   /* an event comes twice, or again after others */
    unsigned late_410; /* a watch is told 410 by an event */
    unsigned unauthorized;
};

struct fake_server *fake_server_new(struct loop *loop, uint64_t seed,
                                    const struct fake_rates *rates);
void fake_server_free(struct fake_server *server);

/* One way to the server; each client has its own. */
struct kube_transport fake_server_connect(struct fake_server *server);

/* From now on nothing goes wrong. */
void fake_server_calm(struct fake_server *server);

/* Requests are refused and watches cut off, or not. */
void fake_server_down(struct fake_server *server, bool down);

/* History before now is forgotten. */
void fake_server_compact(struct fake_server *server);

/* Changes by others. `path`: of the object. NULL data deletes it. */
void fake_server_put(struct fake_server *server, const char *collection, const char *name,
                     const char *data);

/* The same with JSON of any form, which is merged into what is there; taken over. */
void fake_server_merge(struct fake_server *server, const char *collection, const char *name,
                       json_t *patch);

/* What is there: the number of objects in a collection, and one of them (borrowed), by its place.
 */
size_t fake_server_count(const struct fake_server *server, const char *collection);
const json_t *fake_server_object(const struct fake_server *server, const char *collection,
                                 size_t place);
const json_t *fake_server_find(const struct fake_server *server, const char *collection,
                               const char *name);

/* Requests that arrived. */
uint64_t fake_server_requests(const struct fake_server *server);

/* Chance: the same row of numbers for a seed. */
uint32_t fake_random(uint64_t *state);
