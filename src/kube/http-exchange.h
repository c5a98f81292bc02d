/* SPDX-License-Identifier: Apache-2.0 */
/* One request of the HTTP transport, and how it is prepared for libcurl. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

#include "kube/resolve.h"
#include "kube/transport.h"

struct http {
    struct loop *loop;
    const struct kube_config *config;
    struct kube_resolver *resolver;
    CURLM *multi;
    struct loop_source *timer; /* of curl */
    struct loop_source *kick;  /* what has to wait until curl is not running */
    struct http_exchange *exchanges;
    unsigned running; /* exchanges that curl has and that are no streams */
};

struct http_exchange {
    struct http *http;
    struct http_exchange *next, *previous;
    struct kube_receiver receiver;
    CURL *easy;
    struct curl_slist *headers, *addresses, *connect_to;
    char *body;
    bool stream;
    bool added;    /* curl has it */
    bool finished; /* curl is done with it, or it never began; `error` says how */
    bool dead;     /* cancelled: to be cleared away */
    bool told_head;
    uint64_t started_usec, heard_usec;
    unsigned timeout_msec, silence_msec;
    struct loop_source *timer;
    struct error error;
    char problem[CURL_ERROR_SIZE];
};

/* Sets all options except those that call back; "kube-unreachable" when the name of the server is
 * not known. */
int http_exchange_prepare(struct http_exchange *exchange, const struct kube_wire_request *request,
                          struct error *error);

/* What a result of curl means. Only for one that is not CURLE_OK. */
void http_exchange_explain(const struct http_exchange *exchange, CURLcode result,
                           struct error *error);
