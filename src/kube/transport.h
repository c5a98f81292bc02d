/* SPDX-License-Identifier: Apache-2.0 */
/* What carries requests to a server and answers back: HTTP by libcurl, or a made-up server in a
 * simulation. All of it happens in the functions of one loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "basic/error.h"
#include "kube/config.h"
#include "loop/loop.h"

struct kube_wire_request {
    const char *method;
    const char *target; /* path and query */
    const char *content_type;
    const char *body; /* NULL: none */
    size_t body_length;
    const char *token;     /* NULL: none */
    unsigned timeout_msec; /* to a complete answer; 0: none */
    unsigned silence_msec; /* no byte for so long ends it as "kube-timeout"; 0: none */
    bool stream;           /* an answer that comes over a long time, by a connection of its own */
};

/* What an answer is given to. After `end` neither is called again. A function may cancel the
 * exchange (and must not start freeing the transport). */
struct kube_receiver {
    /* `retry_after_msec`: 0 when the server did not say. */
    void (*head)(int status, unsigned retry_after_msec, void *context);

    /* A piece of the body. Negative: no more of it; `end` then gets "kube-too-large", unless the
     * function has cancelled the exchange. */
    int (*data)(const char *data, size_t length, void *context);

    /* `error` is NULL when the answer was complete. Never called from within `start`. */
    void (*end)(const struct error *error, void *context);
    void *context;
};

struct kube_transport_ops {
    /* Texts of the request are the caller's and are copied. */
    int (*start)(void *transport, const struct kube_wire_request *request,
                 const struct kube_receiver *receiver, void **ret_exchange, struct error *error);

    /* No function of the receiver is called any more. Only before `end`. */
    void (*cancel)(void *transport, void *exchange);

    void (*free)(void *transport);
};

struct kube_transport {
    const struct kube_transport_ops *ops;
    void *self;
};

/* HTTP/1.1 or 2 by libcurl; the config stays the caller's and has to live as long. */
int kube_http_new(struct loop *loop, const struct kube_config *config, struct kube_transport *ret,
                  struct error *error);
