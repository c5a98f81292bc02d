/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/web-request.h"

#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/object.h"

enum { BODY_MAXIMUM = 65536 };

struct web_request {
    struct web_place place;
    struct MHD_Connection *connection;
    char *method, *path;
    struct buffer body;
    bool too_large;
    char *id; /* of the snapshot that was asked for */
    json_t *result;
    bool waits;
    struct web_wait *wait;
};

/* An operation outlives the connection that asked for it. */
struct web_wait {
    struct web_request *request; /* NULL: nobody waits any more */
};

struct web_request *web_request_new(const struct web_place *place,
                                    struct MHD_Connection *connection, const char *method,
                                    const char *path)
{
    struct web_request *request = allocate(sizeof *request);

    request->place = *place;
    request->connection = connection;
    request->method = text_copy(method);
    request->path = text_copy(path);
    request->body = BUFFER_INIT(BODY_MAXIMUM);
    return request;
}

void web_request_data(struct web_request *request, const char *data, size_t length)
{
    if (buffer_append(&request->body, data, length) < 0)
        request->too_large = true;
}

static int respond(struct web_request *request, unsigned status, const char *type, char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(text ? strlen(text) : 0, text ? text : (char *)"",
                                        text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    enum MHD_Result queued;

    if (!response)
        return -EIO;
    (void)MHD_add_response_header(response, "Content-Type", type);
    queued = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
    return queued == MHD_YES ? 0 : -EIO;
}

static int respond_json(struct web_request *request, unsigned status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);

    json_decref(body);
    return respond(request, status, "application/json", text);
}

static int respond_error(struct web_request *request, unsigned status, const char *what)
{
    return respond_json(request, status, json_pack("{sb ss}", "success", 0, "error", what));
}

static int answer_health(struct web_request *request)
{
    return respond_json(
        request, MHD_HTTP_OK,
        json_pack("{ss ss}", "status", "healthy", "node_name", request->place.settings->node));
}

/* Able to work: the pods are known. */
static int answer_ready(struct web_request *request)
{
    bool synced = reconciler_is_synced(request->place.reconciler);
    bool connected = reconciler_is_connected(request->place.reconciler);

    return respond_json(request, synced && connected ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                        json_pack("{sb sb ss}", "synced", synced, "connected", connected,
                                  "node_name", request->place.settings->node));
}

static int answer_metrics(struct web_request *request)
{
    struct reconciler_numbers numbers = reconciler_numbers(request->place.reconciler);

    return respond(request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
                   metrics_text(request->place.metrics, &numbers,
                                reconciler_is_synced(request->place.reconciler)));
}

static void on_result(const json_t *result, void *context)
{
    struct web_wait *wait = context;
    struct web_request *request = wait->request;

    free(wait);
    if (!request)
        return;
    request->wait = NULL;
    request->result = json_incref((json_t *)result);
    MHD_resume_connection(request->connection);
    request->place.wake(request->place.context);
}

static int ask(struct web_request *request, const struct order *order)
{
    request->waits = true;
    request->wait = allocate(sizeof *request->wait);
    request->wait->request = request;
    MHD_suspend_connection(request->connection);
    reconciler_ask(request->place.reconciler, order, on_result, request->wait);
    return 0;
}

static char *fresh_id(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return text_format("ckpt-%lld%09ld", (long long)now.tv_sec, now.tv_nsec);
}

static int ask_checkpoint(struct web_request *request, const json_t *body)
{
    const char *id = kube_text(body, "checkpoint_id");
    struct order order = {.kind = ORDER_CAPTURE,
                          .container_id = (char *)kube_text(body, "container_id"),
                          .last = true};
    struct error error = ERROR_INIT;
    struct order checked = {0};
    json_t *json;
    int r;

    if (!order.container_id || !*order.container_id)
        return respond_error(request, MHD_HTTP_BAD_REQUEST, "container_id is required");
    request->id = id && *id ? text_copy(id) : fresh_id();
    order.id = request->id;
    order.key = (char *)"unchecked";
    json = order_to_json(&order);
    r = order_from_json(json, &checked, &error);
    json_decref(json);
    order_done(&checked);
    error_done(&error);
    if (r < 0)
        return respond_error(request, MHD_HTTP_BAD_REQUEST,
                             "container_id or checkpoint_id is not of a possible form");
    return ask(request, &order);
}

static int answer_checkpoint(struct web_request *request)
{
    CLEANUP(free_ptr) char *message = NULL;
    json_t *body;
    bool ok;
    int r;

    if (request->result) {
        ok = json_is_true(json_object_get(request->result, "ok"));
        message =
            text_format("%s", ok ? "Checkpoint created" : kube_text(request->result, "message"));
        return respond_json(request, ok ? MHD_HTTP_OK : MHD_HTTP_INTERNAL_SERVER_ERROR,
                            json_pack("{sb ss ss ss* ss*}", "success", ok, "checkpoint_id",
                                      request->id, "message", ok ? message : "Checkpoint failed",
                                      "error", ok ? NULL : message, "code",
                                      kube_text(request->result, "code")));
    }
    if (request->too_large)
        return respond_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "the request is too large");
    body = json_loadb(request->body.data ? request->body.data : "", request->body.length,
                      JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(body)) {
        json_decref(body);
        return respond_error(request, MHD_HTTP_BAD_REQUEST, "the body is no JSON object");
    }
    r = ask_checkpoint(request, body);
    json_decref(body);
    return r;
}

static int answer_checkpoints(struct web_request *request)
{
    struct order order = {.kind = ORDER_LIST};
    json_t *list;

    if (!request->result)
        return ask(request, &order);
    if (!json_is_true(json_object_get(request->result, "ok")))
        return respond_error(request, MHD_HTTP_INTERNAL_SERVER_ERROR,
                             kube_text(request->result, "message"));
    list = json_object_get(request->result, "snapshots");
    return respond_json(request, MHD_HTTP_OK,
                        json_pack("{sO}", "checkpoints", list ? list : json_null()));
}

static const struct route {
    const char *path, *method;
    bool api; /* only where operations are asked for by HTTP */
    int (*answer)(struct web_request *request);
} routes[] = {
    {"/health", MHD_HTTP_METHOD_GET, false, answer_health},
    {"/healthz", MHD_HTTP_METHOD_GET, false, answer_health},
    {"/ready", MHD_HTTP_METHOD_GET, false, answer_ready},
    {"/readyz", MHD_HTTP_METHOD_GET, false, answer_ready},
    {"/metrics", MHD_HTTP_METHOD_GET, false, answer_metrics},
    {"/checkpoint", MHD_HTTP_METHOD_POST, true, answer_checkpoint},
    {"/checkpoints", MHD_HTTP_METHOD_GET, true, answer_checkpoints},
};

int web_request_answer(struct web_request *request)
{
    if (request->waits && !request->result)
        return 0;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *route = &routes[i];

        if (!text_equal(route->path, request->path) ||
            (route->api && !request->place.settings->http_source))
            continue;
        if (!text_equal(route->method, request->method))
            return respond_error(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed");
        return route->answer(request);
    }
    return respond_error(request, MHD_HTTP_NOT_FOUND, "there is no such page");
}

void web_request_free(struct web_request *request)
{
    if (!request)
        return;
    if (request->wait)
        request->wait->request = NULL;
    buffer_done(&request->body);
    json_decref(request->result);
    free(request->method);
    free(request->path);
    free(request->id);
    free(request);
}
