/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's multi interface in a loop. No function of curl's is called from within a callback of
 * its: what begins or is cancelled there waits for the next turn of the loop (`kick`). */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "basic/text.h"
#include "kube/http-exchange.h"
#include "kube/transport.h"

enum {
    RUNNING_MAXIMUM = 16, /* requests at once; the others wait */
    CONNECTIONS_KEPT = 8,
};

static void kick(struct http *http)
{
    loop_timer_set(http->kick, 0);
}

static uint64_t next_deadline(const struct http_exchange *exchange)
{
    uint64_t at = LOOP_NEVER, silent;

    if (exchange->timeout_msec > 0)
        at = exchange->started_usec + (uint64_t)exchange->timeout_msec * 1000;
    silent = exchange->heard_usec + (uint64_t)exchange->silence_msec * 1000;
    return exchange->silence_msec > 0 && silent < at ? silent : at;
}

static void finish(struct http_exchange *exchange)
{
    exchange->finished = true;
    kick(exchange->http);
}

static void timer_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct http_exchange *exchange = context;
    uint64_t at = next_deadline(exchange);

    if (exchange->finished)
        return;
    if (at > now_usec) {
        loop_timer_set(source, at);
        return;
    }
    (void)error_set(&exchange->error, "kube-timeout", 0,
                    exchange->told_head ? "%s stopped answering" : "%s did not answer in time",
                    exchange->http->config->server);
    finish(exchange);
}

static void tell_head(struct http_exchange *exchange)
{
    curl_off_t retry_after = 0;
    long status = 0;

    if (exchange->told_head)
        return;
    exchange->told_head = true;
    (void)curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(exchange->easy, CURLINFO_RETRY_AFTER, &retry_after);
    if (retry_after < 0 || retry_after > 3600)
        retry_after = 3600;
    exchange->receiver.head((int)status, (unsigned)retry_after * 1000, exchange->receiver.context);
}

/* Called by curl. */
static size_t receive(char *data, size_t size, size_t count, void *context)
{
    struct http_exchange *exchange = context;

    if (exchange->dead || exchange->finished)
        return 0;
    exchange->heard_usec = loop_now(exchange->http->loop);
    tell_head(exchange);
    if (exchange->dead)
        return 0;
    if (exchange->receiver.data(data, size * count, exchange->receiver.context) < 0) {
        if (!exchange->dead)
            (void)error_set(&exchange->error, "kube-too-large", 0,
                            "The answer of %s is larger than accepted",
                            exchange->http->config->server);
        return 0;
    }
    return exchange->dead ? 0 : size * count;
}

/* Takes it from curl and from the list, and forgets it. */
static void exchange_free(struct http_exchange *exchange)
{
    struct http *http = exchange->http;

    if (exchange->next)
        exchange->next->previous = exchange->previous;
    *(exchange->previous ? &exchange->previous->next : &http->exchanges) = exchange->next;
    if (exchange->added) {
        (void)curl_multi_remove_handle(http->multi, exchange->easy);
        http->running -= !exchange->stream;
    }
    if (exchange->easy)
        curl_easy_cleanup(exchange->easy);
    curl_slist_free_all(exchange->headers);
    curl_slist_free_all(exchange->addresses);
    curl_slist_free_all(exchange->connect_to);
    loop_source_free(exchange->timer);
    error_done(&exchange->error);
    free(exchange->body);
    free(exchange);
}

static int http_start(void *transport, const struct kube_wire_request *request,
                      const struct kube_receiver *receiver, void **ret_exchange,
                      struct error *error)
{
    struct http *http = transport;
    struct http_exchange *exchange = allocate(sizeof *exchange);
    uint64_t now = loop_now(http->loop);
    int r;

    *exchange = (struct http_exchange){.http = http,
                                       .receiver = *receiver,
                                       .stream = request->stream,
                                       .started_usec = now,
                                       .heard_usec = now,
                                       .timeout_msec = request->timeout_msec,
                                       .silence_msec = request->silence_msec,
                                       .next = http->exchanges};
    if (http->exchanges)
        http->exchanges->previous = exchange;
    http->exchanges = exchange;
    r = http_exchange_prepare(exchange, request, error);
    if (r < 0) {
        exchange_free(exchange);
        return r;
    }
    (void)curl_easy_setopt(exchange->easy, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(exchange->easy, CURLOPT_WRITEDATA, exchange);
    (void)curl_easy_setopt(exchange->easy, CURLOPT_PRIVATE, exchange);
    loop_add_timer(http->loop, next_deadline(exchange), timer_function, exchange, &exchange->timer);
    kick(http);
    *ret_exchange = exchange;
    return 0;
}

static void http_cancel(void *transport, void *context)
{
    struct http_exchange *exchange = context;

    exchange->dead = true;
    kick(transport);
}

/* Asks curl what has ended. */
static void note_results(struct http *http)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
        struct http_exchange *exchange = NULL;

        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&exchange);
        if (message->msg != CURLMSG_DONE || exchange->finished)
            continue;
        if (message->data.result != CURLE_OK && !exchange->error.code)
            http_exchange_explain(exchange, message->data.result, &exchange->error);
        finish(exchange);
    }
}

static struct http_exchange *find_finished(const struct http *http)
{
    struct http_exchange *exchange = http->exchanges;

    while (exchange && !exchange->finished && !exchange->dead)
        exchange = exchange->next;
    return exchange;
}

static void tell_end(struct http_exchange *exchange)
{
    struct kube_receiver receiver = exchange->receiver;
    struct error error = exchange->error;

    if (!error.code)
        tell_head(exchange);
    if (exchange->dead)
        return;
    exchange->error = ERROR_INIT;
    exchange_free(exchange);
    receiver.end(error.code ? &error : NULL, receiver.context);
    error_done(&error);
}

static void begin_waiting(struct http *http)
{
    struct http_exchange *exchange = http->exchanges;

    while (exchange && exchange->next)
        exchange = exchange->next;
    for (; exchange; exchange = exchange->previous) { /* the oldest first */
        if (exchange->added || exchange->finished || exchange->dead ||
            (!exchange->stream && http->running >= RUNNING_MAXIMUM))
            continue;
        if (curl_multi_add_handle(http->multi, exchange->easy) != CURLM_OK) {
            (void)error_set(&exchange->error, "out-of-memory", ENOMEM, "Can't begin a request");
            finish(exchange);
            continue;
        }
        exchange->added = true;
        http->running += !exchange->stream;
    }
}

static void kick_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct http *http = context;
    struct http_exchange *exchange;

    (void)source;
    (void)now_usec;
    while ((exchange = find_finished(http)) != NULL) {
        if (exchange->dead)
            exchange_free(exchange);
        else
            tell_end(exchange);
    }
    begin_waiting(http);
    note_results(http);
}

static void curl_timer_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct http *http = context;
    int running;

    (void)source;
    (void)now_usec;
    (void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    note_results(http);
}

static void socket_function(struct loop_source *source, int fd, uint32_t events, void *context)
{
    struct http *http = context;
    int mask = 0, running;

    (void)source;
    mask |= events & EPOLLIN ? CURL_CSELECT_IN : 0;
    mask |= events & EPOLLOUT ? CURL_CSELECT_OUT : 0;
    mask |= events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0;
    (void)curl_multi_socket_action(http->multi, fd, mask, &running);
    note_results(http);
}

/* Called by curl: when it wants to be called. */
static int want_timer(CURLM *multi, long timeout_msec, void *context)
{
    struct http *http = context;

    (void)multi;
    loop_timer_set(http->timer, timeout_msec < 0
                                    ? LOOP_NEVER
                                    : loop_now(http->loop) + (uint64_t)timeout_msec * 1000);
    return 0;
}

/* Called by curl: which sockets it wants to hear of. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_context)
{
    struct http *http = context;
    struct loop_source *source = socket_context;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0U) | (what & CURL_POLL_OUT ? EPOLLOUT : 0U);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        loop_source_free(source);
        return 0;
    }
    if (source) {
        loop_source_events(source, events);
        return 0;
    }
    if (loop_add_fd(http->loop, fd, events, socket_function, http, &source, NULL) < 0)
        return -1;
    (void)curl_multi_assign(http->multi, fd, source);
    return 0;
}

static void http_free(void *transport)
{
    struct http *http = transport;

    while (http->exchanges)
        exchange_free(http->exchanges);
    if (http->multi)
        (void)curl_multi_cleanup(http->multi);
    loop_source_free(http->timer);
    loop_source_free(http->kick);
    kube_resolver_free(http->resolver);
    free(http);
    curl_global_cleanup();
}

static bool set_up(struct http *http)
{
    http->multi = curl_multi_init();
    return http->multi && !curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, want_socket) &&
           !curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http) &&
           !curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, want_timer) &&
           !curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http) &&
           !curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) &&
           !curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
}

int kube_http_new(struct loop *loop, const struct kube_config *config, struct kube_transport *ret,
                  struct error *error)
{
    static const struct kube_transport_ops ops = {http_start, http_cancel, http_free};
    struct http *http;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return error_set(error, "out-of-memory", ENOMEM, "Can't start the HTTP client");
    http = allocate(sizeof *http);
    http->loop = loop;
    http->config = config;
    http->resolver = kube_resolver_new(config->server);
    loop_add_timer(loop, LOOP_NEVER, curl_timer_function, http, &http->timer);
    loop_add_timer(loop, LOOP_NEVER, kick_function, http, &http->kick);
    if (!set_up(http)) {
        http_free(http);
        return error_set(error, "out-of-memory", ENOMEM, "Can't start the HTTP client");
    }
    *ret = (struct kube_transport){.ops = &ops, .self = http};
    return 0;
}
