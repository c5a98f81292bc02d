/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the Kubernetes API: requests with JSON, and streams of lines (watches). It lives in a
 * loop and never blocks; kube_call() is for programs that have nothing else to do. What a server
 * sends is bounded and checked.
 *
 * By itself it sends a request again: once with a fresh token after 401; after Retry-After when the
 * server throttles (429, or 503 that says when), as long as the request's time is not over. Nothing
 * else is repeated, since it may have happened: see kube/update.h and kube/queue.h.
 *
 * Errors:
 *   "kube-unreachable"   no connection, no name, connection lost  its errno, or -EHOSTUNREACH
 *   "kube-untrusted"     TLS: the server is not who it should be  -EKEYREJECTED
 *   "kube-timeout"       no complete answer in time               -ETIMEDOUT
 *   "kube-unauthorized"  401                                      -EACCES
 *   "kube-forbidden"     403                                      -EPERM
 *   "kube-not-found"     404                                      -ENOENT
 *   "kube-exists"        409 AlreadyExists                        -EEXIST
 *   "kube-conflict"      409, and 412                             -EBUSY
 *   "kube-gone"          410                                      -ESTALE
 *   "kube-invalid"       400, 405, 406, 415, 422, any other 4xx   -EINVAL
 *   "kube-throttled"     429                                      -EAGAIN
 *   "kube-server"        5xx                                      -EREMOTEIO
 *   "kube-too-large"     413, or an answer larger than accepted   -EMSGSIZE
 *   "kube-protocol"      an answer that is none of the API        -EBADMSG
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "basic/error.h"
#include "kube/config.h"
#include "kube/transport.h"
#include "loop/loop.h"

#define KUBE_ANSWER_MAXIMUM ((size_t)16 << 20)
#define KUBE_LINE_MAXIMUM ((size_t)8 << 20)
#define KUBE_TIMEOUT_MSEC 30000

#define KUBE_MERGE_PATCH "application/merge-patch+json"
#define KUBE_STRATEGIC_PATCH "application/strategic-merge-patch+json"
#define KUBE_APPLY_PATCH "application/apply-patch+yaml" /* JSON is YAML */

struct kube_client;
struct kube_handle; /* a request on its way */

/* The config becomes the client's. */
int kube_client_new(struct loop *loop, struct kube_config *config, struct kube_client **ret,
                    struct error *error);

/* The same over another transport, which becomes the client's; `config` may be NULL (no token). */
struct kube_client *kube_client_over(struct loop *loop, struct kube_config *config,
                                     struct kube_transport transport);

/* Requests on their way are cancelled. NULL is accepted. */
void kube_client_free(struct kube_client *client);

struct loop *kube_client_loop(const struct kube_client *client);

/* Where things go that nobody gave a namespace. */
const char *kube_client_namespace(const struct kube_client *client);

struct kube_request {
    const char *method;       /* NULL: GET */
    const char *path;         /* encoded: kube_path() */
    const char *query;        /* encoded, without '?'; NULL: none */
    const char *content_type; /* of the body; NULL: application/json */
    const json_t *body;       /* NULL: none; read before the call returns */
    unsigned timeout_msec;    /* 0: KUBE_TIMEOUT_MSEC; of a stream: how long it may be silent */
    size_t maximum;           /* bytes of the answer or of a line; 0: the maximum above */
};

struct kube_answer {
    int status;                /* of HTTP; 0: there was no answer */
    json_t *body;              /* borrowed (json_incref keeps it); NULL: none */
    unsigned retry_after_msec; /* 0: the server did not say */
};

/* `error` is NULL for a 2xx answer with a JSON object or nothing in it; else answer->body is a
 * Status object, or NULL. Both are the client's. May send, cancel, free what it wants except the
 * client. */
typedef void kube_answer_function(const struct kube_answer *answer, const struct error *error,
                                  void *context);

/* Sends; the function is called once, later, unless cancelled. Everything in the request is copied.
 * A failure to send is told to the function, too, so there is nothing to check here. `ret` (may be
 * NULL) is valid until the function is called. */
void kube_send(struct kube_client *client, const struct kube_request *request,
               kube_answer_function *function, void *context, struct kube_handle **ret);

/* Gets each line of a stream as soon as it has arrived, without its end, zero terminated; it may
 * change it. Negative: no more, and the end is "kube-protocol". May cancel. */
typedef int kube_line_function(char *line, size_t length, void *context);

/* A GET whose answer is lines. `end` is called once unless cancelled: with error NULL when the
 * server has ended it properly. */
void kube_stream(struct kube_client *client, const struct kube_request *request,
                 kube_line_function *line, kube_answer_function *end, void *context,
                 struct kube_handle **ret);

/* The function will not be called. NULL is accepted. */
void kube_cancel(struct kube_handle *handle);

/* For programs of people: sends, runs the client's loop until the answer is there, and returns it
 * as a new reference (`ret_body` may be NULL; NULL is stored when there is no body). */
int kube_call(struct kube_client *client, const struct kube_request *request, json_t **ret_body,
              struct error *error);
