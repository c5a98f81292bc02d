/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/errors.h"
#include "kube/lines.h"

enum {
    FAILURE_MAXIMUM = 1 << 20, /* of the body of an answer that says why not */
    THROTTLED_MSEC = 1000,     /* when the server does not say how long */
};

struct kube_client {
    struct loop *loop;
    struct kube_config *config;
    struct kube_transport transport;
    struct kube_handle *handles;
};

struct kube_handle {
    struct kube_client *client;
    struct kube_handle *next, *previous;
    kube_answer_function *function;
    kube_line_function *line; /* NULL: no stream */
    void *context;

    char *method, *path, *target, *content_type, *body;
    size_t body_length, maximum;
    unsigned timeout_msec;
    uint64_t deadline;

    void *exchange;            /* of the transport; NULL: between two attempts */
    struct loop_source *timer; /* of the next attempt, or of a failure to tell */
    struct error error;        /* to tell */
    bool token_again;          /* a fresh token was tried */
    bool busy, cancelled;      /* within the function of a line */

    int status;
    unsigned retry_after_msec;
    struct buffer received;
    struct line_splitter splitter;
};

struct kube_client *kube_client_over(struct loop *loop, struct kube_config *config,
                                     struct kube_transport transport)
{
    struct kube_client *client = allocate(sizeof *client);

    client->loop = loop;
    client->config = config;
    client->transport = transport;
    return client;
}

int kube_client_new(struct loop *loop, struct kube_config *config, struct kube_client **ret,
                    struct error *error)
{
    struct kube_transport transport;
    int r = kube_http_new(loop, config, &transport, error);

    if (r == 0)
        *ret = kube_client_over(loop, config, transport);
    else
        kube_config_free(config);
    return r;
}

void kube_client_free(struct kube_client *client)
{
    if (!client)
        return;
    while (client->handles)
        kube_cancel(client->handles);
    client->transport.ops->free(client->transport.self);
    kube_config_free(client->config);
    free(client);
}

struct loop *kube_client_loop(const struct kube_client *client)
{
    return client->loop;
}

const char *kube_client_namespace(const struct kube_client *client)
{
    return client->config && client->config->namespace ? client->config->namespace : "default";
}

static void handle_free(struct kube_handle *handle)
{
    if (handle->next)
        handle->next->previous = handle->previous;
    *(handle->previous ? &handle->previous->next : &handle->client->handles) = handle->next;
    loop_source_free(handle->timer);
    error_done(&handle->error);
    buffer_done(&handle->received);
    line_splitter_done(&handle->splitter);
    free(handle->method);
    free(handle->path);
    free(handle->target);
    free(handle->content_type);
    free(handle->body);
    free(handle);
}

void kube_cancel(struct kube_handle *handle)
{
    struct kube_transport *transport = handle ? &handle->client->transport : NULL;

    if (!handle || handle->cancelled)
        return;
    if (handle->exchange)
        transport->ops->cancel(transport->self, STEAL_PTR(handle->exchange));
    handle->cancelled = true;
    if (!handle->busy)
        handle_free(handle);
}

/* The last thing that happens to a handle. */
static void conclude(struct kube_handle *handle, json_t *body, struct error *error)
{
    struct kube_answer answer = {
        .status = handle->status, .body = body, .retry_after_msec = handle->retry_after_msec};
    kube_answer_function *function = handle->function;
    void *context = handle->context;
    struct error told = ERROR_INIT;

    if (error)
        error_move(&told, error);
    if (told.code && told.number == 0)
        told.number = -kube_errno(told.code);
    handle_free(handle);
    function(&answer, told.code ? &told : NULL, context);
    error_done(&told);
    json_decref(body);
}

static bool is_success(const struct kube_handle *handle)
{
    return handle->status >= 200 && handle->status < 300;
}

static void receive_head(int status, unsigned retry_after_msec, void *context)
{
    struct kube_handle *handle = context;

    handle->status = status;
    handle->retry_after_msec = retry_after_msec;
    handle->received.maximum = is_success(handle) ? handle->maximum : FAILURE_MAXIMUM;
}

static int receive_lines(struct kube_handle *handle, const char *data, size_t length)
{
    int r;

    handle->busy = true;
    r = line_splitter_feed(&handle->splitter, data, length, handle->line, handle->context);
    handle->busy = false;
    if (handle->cancelled) {
        handle_free(handle);
        return -ECANCELED;
    }
    if (r == -EFBIG)
        kube_error_set(&handle->error, "kube-too-large", "GET %s: a line is longer than %zu bytes",
                       handle->path, handle->maximum);
    else if (r < 0)
        kube_error_set(&handle->error, "kube-protocol", "GET %s: a line is not valid",
                       handle->path);
    return r;
}

static int receive_data(const char *data, size_t length, void *context)
{
    struct kube_handle *handle = context;
    int r;

    if (handle->line && is_success(handle))
        return receive_lines(handle, data, length);
    r = buffer_append(&handle->received, data, length);
    return r == -EFBIG && !is_success(handle) ? 0 : r;
}

static void start_attempt(struct kube_handle *handle);

/* Whether it has begun, or will begin, once more. */
static bool try_again(struct kube_handle *handle)
{
    struct kube_client *client = handle->client;
    bool throttled =
        handle->status == 429 || (handle->status == 503 && handle->retry_after_msec > 0);
    uint64_t pause = handle->retry_after_msec ? handle->retry_after_msec : THROTTLED_MSEC;
    uint64_t at = loop_now(client->loop) + pause * 1000;

    if (handle->status == 401 && !handle->token_again && client->config) {
        handle->token_again = true;
        start_attempt(handle);
        return true;
    }
    if (handle->line || !throttled || at >= handle->deadline)
        return false;
    loop_timer_set(handle->timer, at);
    return true;
}

static void conclude_answer(struct kube_handle *handle)
{
    const struct buffer *received = &handle->received;
    json_t *body = received->length ? kube_json_parse(received->data, received->length) : NULL;
    struct error error = ERROR_INIT;

    if (!is_success(handle))
        kube_error_of_status(handle->method, handle->path, handle->status, body, &error);
    else if (received->length > 0 && !body)
        kube_error_set(&error, "kube-protocol", "The answer to %s %s is no JSON object",
                       handle->method, handle->path);
    else if (handle->line && line_splitter_is_within(&handle->splitter))
        kube_error_set(&error, "kube-protocol", "GET %s: the stream ended within a line",
                       handle->path);
    conclude(handle, body, &error);
}

static void receive_end(const struct error *error, void *context)
{
    struct kube_handle *handle = context;
    struct error copy = ERROR_INIT;

    handle->exchange = NULL;
    if (handle->error.code) {
        error_move(&copy, &handle->error);
    } else if (error) {
        (void)error_set(&copy, error->code, 0, "%s %s: %s", handle->method, handle->path,
                        error->message);
        copy.number = error->number;
    }
    if (copy.code)
        conclude(handle, NULL, &copy);
    else if (!try_again(handle))
        conclude_answer(handle);
}

static void start_attempt(struct kube_handle *handle)
{
    struct kube_client *client = handle->client;
    struct kube_transport *transport = &client->transport;
    const struct kube_receiver receiver = {receive_head, receive_data, receive_end, handle};
    uint64_t now = loop_now(client->loop);
    uint64_t left = handle->deadline > now ? (handle->deadline - now) / 1000 : 0;
    struct kube_wire_request wire = {.method = handle->method,
                                     .target = handle->target,
                                     .content_type = handle->content_type,
                                     .body = handle->body,
                                     .body_length = handle->body_length,
                                     .timeout_msec = left > 1 ? (unsigned)left : 1};

    if (client->config)
        wire.token = kube_config_token(client->config, now, handle->token_again);
    if (handle->line) {
        wire.stream = true;
        wire.timeout_msec = 0;
        wire.silence_msec = handle->timeout_msec;
    }
    handle->received.length = 0;
    handle->status = 0;
    handle->retry_after_msec = 0;
    if (transport->ops->start(transport->self, &wire, &receiver, &handle->exchange,
                              &handle->error) < 0)
        loop_timer_set(handle->timer, 0);
}

static void timer_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct kube_handle *handle = context;

    (void)source;
    (void)now_usec;
    if (handle->error.code)
        conclude(handle, NULL, &handle->error);
    else
        start_attempt(handle);
}

static struct kube_handle *make_handle(struct kube_client *client,
                                       const struct kube_request *request, size_t maximum)
{
    struct kube_handle *handle = allocate(sizeof *handle);
    bool queried = request->query && *request->query;

    handle->client = client;
    handle->method = text_copy(request->method ? request->method : "GET");
    handle->path = text_copy(request->path);
    handle->target =
        queried ? text_format("%s?%s", request->path, request->query) : text_copy(request->path);
    handle->content_type =
        text_copy(request->content_type ? request->content_type : "application/json");
    handle->maximum = request->maximum ? request->maximum : maximum;
    handle->received = BUFFER_INIT(FAILURE_MAXIMUM);
    handle->splitter = LINE_SPLITTER_INIT(handle->maximum);
    handle->timeout_msec = request->timeout_msec ? request->timeout_msec : KUBE_TIMEOUT_MSEC;
    handle->deadline = loop_now(client->loop) + (uint64_t)handle->timeout_msec * 1000;
    handle->next = client->handles;
    if (client->handles)
        client->handles->previous = handle;
    client->handles = handle;
    loop_add_timer(client->loop, LOOP_NEVER, timer_function, handle, &handle->timer);
    return handle;
}

static void add_body(struct kube_handle *handle, const json_t *body)
{
    if (!body)
        return;
    handle->body = json_dumps(body, JSON_COMPACT);
    if (handle->body)
        handle->body_length = strlen(handle->body);
    else
        kube_error_set(&handle->error, "kube-invalid", "%s %s: what is to be sent is no JSON",
                       handle->method, handle->path);
}

void kube_send(struct kube_client *client, const struct kube_request *request,
               kube_answer_function *function, void *context, struct kube_handle **ret)
{
    struct kube_handle *handle = make_handle(client, request, KUBE_ANSWER_MAXIMUM);

    handle->function = function;
    handle->context = context;
    if (ret)
        *ret = handle;
    add_body(handle, request->body);
    if (handle->error.code)
        loop_timer_set(handle->timer, 0);
    else
        start_attempt(handle);
}

void kube_stream(struct kube_client *client, const struct kube_request *request,
                 kube_line_function *line, kube_answer_function *end, void *context,
                 struct kube_handle **ret)
{
    struct kube_handle *handle = make_handle(client, request, KUBE_LINE_MAXIMUM);

    handle->function = end;
    handle->line = line;
    handle->context = context;
    if (ret)
        *ret = handle;
    start_attempt(handle);
}
