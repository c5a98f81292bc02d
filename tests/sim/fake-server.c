/* SPDX-License-Identifier: Apache-2.0 */
#include "fake-server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/object.h"

enum { HISTORY = 64, OBJECTS = 1024 };

struct record { /* one event of the history */
    uint64_t version;
    char *collection;
    const char *type;
    char *line;
};

struct object {
    char *collection;
    json_t *json;
};

struct fake_server {
    struct loop *loop;
    uint64_t random;
    struct fake_rates rates;
    bool down;
    uint64_t version, uid, compacted, requests;
    struct object objects[OBJECTS];
    size_t count;
    struct record history[HISTORY];
    size_t recorded;
    struct way *ways;
};

struct exchange {
    struct way *way;
    struct exchange *next;
    struct kube_receiver receiver;
    char *method, *collection, *name, *query, *body;
    bool merge, stream, began, dead;
    unsigned timeout_msec;
    uint64_t seen; /* version up to which a watch was told */
    uint64_t ends_usec;
    struct loop_source *timer;
};

struct way {
    struct fake_server *server;
    struct way *next;
    struct exchange *exchanges;
};

uint32_t fake_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ (z >> 31)) >> 16);
}

static bool happens(struct fake_server *server, unsigned rate)
{
    return fake_random(&server->random) % 1000 < rate;
}

struct fake_server *fake_server_new(struct loop *loop, uint64_t seed,
                                    const struct fake_rates *rates)
{
    struct fake_server *server = allocate(sizeof *server);

    server->loop = loop;
    server->random = seed;
    server->rates = *rates;
    server->version = 10;
    return server;
}

static void record_done(struct record *record)
{
    free(record->collection);
    free(record->line);
    *record = (struct record){0};
}

void fake_server_free(struct fake_server *server)
{
    for (size_t i = 0; i < server->count; i++) {
        free(server->objects[i].collection);
        json_decref(server->objects[i].json);
    }
    for (size_t i = 0; i < HISTORY; i++)
        record_done(&server->history[i]);
    free(server);
}

void fake_server_calm(struct fake_server *server)
{
    server->rates = (struct fake_rates){0};
    server->down = false;
}

uint64_t fake_server_requests(const struct fake_server *server)
{
    return server->requests;
}

void fake_server_compact(struct fake_server *server)
{
    server->compacted = server->version;
}

static struct object *find_object(const struct fake_server *server, const char *collection,
                                  const char *name)
{
    for (size_t i = 0; i < server->count; i++) {
        const struct object *object = &server->objects[i];

        if (text_equal(object->collection, collection) && text_equal(kube_name(object->json), name))
            return (struct object *)(uintptr_t)object;
    }
    return NULL;
}

const json_t *fake_server_find(const struct fake_server *server, const char *collection,
                               const char *name)
{
    const struct object *object = find_object(server, collection, name);

    return object ? object->json : NULL;
}

size_t fake_server_count(const struct fake_server *server, const char *collection)
{
    size_t count = 0;

    for (size_t i = 0; i < server->count; i++)
        count += text_equal(server->objects[i].collection, collection);
    return count;
}

const json_t *fake_server_object(const struct fake_server *server, const char *collection,
                                 size_t place)
{
    for (size_t i = 0; i < server->count; i++) {
        if (text_equal(server->objects[i].collection, collection) && place-- == 0)
            return server->objects[i].json;
    }
    return NULL;
}

static void wake_watches(struct fake_server *server)
{
    for (struct way *way = server->ways; way; way = way->next) {
        for (struct exchange *one = way->exchanges; one; one = one->next) {
            if (one->stream && one->began && !one->dead)
                loop_timer_set(one->timer,
                               loop_now(server->loop) + fake_random(&server->random) % 20000);
        }
    }
}

static void stamp(struct fake_server *server, json_t *json)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%" PRIu64, ++server->version);
    (void)json_object_set_new(json_object_get(json, "metadata"), "resourceVersion",
                              json_string(text));
}

static bool is_events(const char *collection)
{
    const char *last = strrchr(collection, '/');

    return last && text_equal(last, "/events");
}

/* Nobody watches events; they do not push others out of the history. */
static void remember(struct fake_server *server, const char *collection, const char *type,
                     const json_t *json)
{
    struct record *record;
    CLEANUP(free_ptr) char *object = NULL;

    if (is_events(collection))
        return;
    record = &server->history[server->recorded++ % HISTORY];
    object = json_dumps(json, JSON_COMPACT);
    if (record->version > server->compacted)
        server->compacted = record->version;
    record_done(record);
    *record =
        (struct record){.version = server->version,
                        .collection = text_copy(collection),
                        .type = type,
                        .line = text_format("{\"type\":\"%s\",\"object\":%s}\n", type, object)};
    wake_watches(server);
}

/* `json` becomes the server's. */
static struct object *add_object(struct fake_server *server, const char *collection, json_t *json)
{
    struct object *object = &server->objects[server->count];
    char uid[32];

    if (server->count == OBJECTS)
        abort();
    (void)snprintf(uid, sizeof uid, "uid-%" PRIu64, ++server->uid);
    (void)json_object_set_new(json_object_get(json, "metadata"), "uid", json_string(uid));
    *object = (struct object){.collection = text_copy(collection), .json = json};
    server->count++;
    stamp(server, json);
    remember(server, collection, "ADDED", json);
    return object;
}

static void remove_object(struct fake_server *server, struct object *object)
{
    stamp(server, object->json);
    remember(server, object->collection, "DELETED", object->json);
    free(object->collection);
    json_decref(object->json);
    server->count--;
    memmove(object, object + 1,
            (size_t)(&server->objects[server->count] - object) * sizeof *object);
}

static void merge(json_t *into, const json_t *patch);

/* A strategic merge: conditions are known by their type. */
static void merge_conditions(json_t *into, const json_t *patch)
{
    for (size_t i = 0; i < json_array_size(patch); i++) {
        json_t *one = json_array_get(patch, i), *old = NULL;

        for (size_t j = 0; j < json_array_size(into) && !old; j++) {
            if (json_equal(json_object_get(json_array_get(into, j), "type"),
                           json_object_get(one, "type")))
                old = json_array_get(into, j);
        }
        if (old)
            merge(old, one);
        else
            (void)json_array_append_new(into, json_deep_copy(one));
    }
}

static void merge(json_t *into, const json_t *patch)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        json_t *old = json_object_get(into, key);

        if (json_is_null(value))
            (void)json_object_del(into, key);
        else if (json_is_object(value) && json_is_object(old))
            merge(old, value);
        else if (text_equal(key, "conditions") && json_is_array(old))
            merge_conditions(old, value);
        else
            (void)json_object_set_new(into, key, json_deep_copy(value));
    }
}

void fake_server_merge(struct fake_server *server, const char *collection, const char *name,
                       json_t *patch)
{
    struct object *object = find_object(server, collection, name);

    if (!object) {
        (void)add_object(server, collection, json_incref(patch));
    } else {
        merge(object->json, patch);
        stamp(server, object->json);
        remember(server, collection, "MODIFIED", object->json);
    }
    json_decref(patch);
}

void fake_server_put(struct fake_server *server, const char *collection, const char *name,
                     const char *data)
{
    struct object *object = find_object(server, collection, name);

    if (!data) {
        if (object)
            remove_object(server, object);
        return;
    }
    if (!object) {
        (void)add_object(server, collection,
                         json_pack("{s:{s:s},s:s}", "metadata", "name", name, "data", data));
        return;
    }
    (void)json_object_set_new(object->json, "data", json_string(data));
    stamp(server, object->json);
    remember(server, collection, "MODIFIED", object->json);
}

/* An exchange leaves its way before its receiver hears of the end. */
static void forget(struct exchange *exchange)
{
    struct exchange **at = &exchange->way->exchanges;

    while (*at != exchange)
        at = &(*at)->next;
    *at = exchange->next;
    loop_source_free(exchange->timer);
    free(exchange->method);
    free(exchange->collection);
    free(exchange->name);
    free(exchange->query);
    free(exchange->body);
    free(exchange);
}

static void fail(struct exchange *exchange, const char *code)
{
    struct kube_receiver receiver = exchange->receiver;
    struct error error = ERROR_INIT;

    forget(exchange);
    (void)error_set(&error, code, 0, "made up");
    receiver.end(&error, receiver.context);
    error_done(&error);
}

/* Pieces end anywhere. False: the receiver has cancelled it. */
static bool send_bytes(struct exchange *exchange, const char *data, size_t length)
{
    struct fake_server *server = exchange->way->server;

    while (length > 0) {
        size_t piece = 1 + fake_random(&server->random) % 700;

        if (piece > length)
            piece = length;
        if (exchange->receiver.data(data, piece, exchange->receiver.context) < 0 || exchange->dead)
            return false;
        data += piece;
        length -= piece;
    }
    return true;
}

static void answer(struct exchange *exchange, int status, unsigned retry_after_msec,
                   const json_t *body)
{
    CLEANUP(free_ptr) char *text = json_dumps(body, JSON_COMPACT);
    struct kube_receiver receiver = exchange->receiver;

    receiver.head(status, retry_after_msec, receiver.context);
    if (!send_bytes(exchange, text, strlen(text)))
        return;
    forget(exchange);
    receiver.end(NULL, receiver.context);
}

static void answer_status(struct exchange *exchange, int status, unsigned retry_after_msec,
                          const char *reason)
{
    json_t *body = json_pack("{s:s,s:s,s:i,s:s}", "kind", "Status", "reason", reason, "code",
                             status, "message", "made up");

    answer(exchange, status, retry_after_msec, body);
    json_decref(body);
}

static bool query_text(const struct exchange *exchange, const char *name, char *to, size_t size)
{
    CLEANUP(free_ptr) char *key = text_format("&%s=", name);
    CLEANUP(free_ptr) char *query = text_format("&%s", exchange->query);
    const char *at = strstr(query, key);

    if (!at)
        return false;
    at += strlen(key);
    (void)snprintf(to, size, "%.*s", (int)strcspn(at, "&"), at);
    return true;
}

static uint64_t query_number(const struct exchange *exchange, const char *name)
{
    char text[32] = "0";

    (void)query_text(exchange, name, text, sizeof text);
    return strtoull(text, NULL, 10);
}

/* Pages go on after the place in the order of names, at the version of the first page as far as
 * this server knows: objects that changed in between show their new version, as etcd would not; the
 * watch from the version of the list then tells them again. */
static void answer_list(struct exchange *exchange)
{
    struct fake_server *server = exchange->way->server;
    json_t *items = json_array(), *list;
    uint64_t limit = query_number(exchange, "limit"), version = server->version, place = 0;
    char token[64] = "", text[32];
    size_t count = fake_server_count(server, exchange->collection);

    if (query_text(exchange, "continue", token, sizeof token)) {
        (void)sscanf(token, "%" SCNu64 "-%" SCNu64, &version, &place);
        if (version < server->compacted || version < server->version) {
            json_decref(items);
            answer_status(exchange, 410, 0, "Expired");
            return;
        }
    }
    token[0] = '\0';
    for (; place < count && json_array_size(items) < limit; place++)
        (void)json_array_append_new(
            items, json_deep_copy(fake_server_object(server, exchange->collection, place)));
    if (place < count)
        (void)snprintf(token, sizeof token, "%" PRIu64 "-%" PRIu64, version, place);
    (void)snprintf(text, sizeof text, "%" PRIu64, version);
    list = json_pack("{s:{s:s,s:s},s:o}", "metadata", "resourceVersion", text, "continue", token,
                     "items", items);
    answer(exchange, 200, 0, list);
    json_decref(list);
}

static const struct record *next_record(const struct exchange *exchange)
{
    const struct fake_server *server = exchange->way->server;
    const struct record *best = NULL;

    for (size_t i = 0; i < HISTORY; i++) {
        const struct record *record = &server->history[i];

        if (record->version > exchange->seen && (!best || record->version < best->version) &&
            text_equal(record->collection, exchange->collection))
            best = record;
    }
    return best;
}

/* An event that was told before: the last one again, or any of the history up to there. */
static bool repeat_event(struct exchange *exchange)
{
    struct fake_server *server = exchange->way->server;
    const struct record *record = &server->history[fake_random(&server->random) % HISTORY];
    CLEANUP(free_ptr) char *line = NULL;

    if (!record->line || record->version > exchange->seen ||
        !text_equal(record->collection, exchange->collection))
        return true;
    line = text_copy(record->line);
    return send_bytes(exchange, line, strlen(line));
}

static bool send_bookmark(struct exchange *exchange)
{
    struct fake_server *server = exchange->way->server;
    CLEANUP(free_ptr)
    char *line = text_format("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":"
                             "\"%" PRIu64 "\"}}}\n",
                             server->version);

    exchange->seen = server->version;
    return send_bytes(exchange, line, strlen(line));
}

static void begin_watch(struct exchange *exchange)
{
    struct fake_server *server = exchange->way->server;
    uint64_t seconds = query_number(exchange, "timeoutSeconds");

    exchange->seen = query_number(exchange, "resourceVersion");
    if (exchange->seen < server->compacted) {
        answer_status(exchange, 410, 0, "Expired");
        return;
    }
    exchange->began = true;
    exchange->ends_usec = loop_now(server->loop) + seconds * 1000000;
    exchange->receiver.head(200, 0, exchange->receiver.context);
    loop_timer_set(exchange->timer, loop_now(server->loop));
}

static void send_gone(struct exchange *exchange)
{
    static const char line[] = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,"
                               "\"reason\":\"Expired\",\"message\":\"too old\"}}\n";

    if (!send_bytes(exchange, line, strlen(line)))
        return;
    fail(exchange, "kube-unreachable");
}

static void go_on_watching(struct exchange *exchange)
{
    struct fake_server *server = exchange->way->server;
    struct kube_receiver receiver = exchange->receiver;
    const struct record *record;

    while ((record = next_record(exchange)) != NULL) {
        CLEANUP(free_ptr) char *line = text_copy(record->line);
        size_t length = strlen(line);

        if (exchange->seen < server->compacted || happens(server, server->rates.late_410)) {
            send_gone(exchange);
            return;
        }
        if (happens(server, server->rates.cut)) { /* perhaps within the line */
            if (send_bytes(exchange, line, fake_random(&server->random) % length))
                fail(exchange, "kube-unreachable");
            return;
        }
        exchange->seen = record->version;
        if (!send_bytes(exchange, line, length))
            return;
        if (happens(server, server->rates.repeat) && !repeat_event(exchange))
            return;
    }
    if (loop_now(server->loop) >= exchange->ends_usec) {
        forget(exchange);
        receiver.end(NULL, receiver.context);
        return;
    }
    if (happens(server, 200) && !send_bookmark(exchange))
        return;
    loop_timer_set(exchange->timer, exchange->ends_usec);
}

static bool precondition_fails(const json_t *body, const struct object *object)
{
    const char *version = kube_resource_version(body), *uid = kube_uid(body);

    return (*version && !text_equal(version, kube_resource_version(object->json))) ||
           (*uid && !text_equal(uid, kube_uid(object->json)));
}

/* What a request does, and its answer; a new reference. */
static json_t *carry_out(struct exchange *exchange, int *ret_status)
{
    struct fake_server *server = exchange->way->server;
    bool post = text_equal(exchange->method, "POST");
    json_t *body = exchange->body ? json_loads(exchange->body, 0, NULL) : NULL;
    struct object *object =
        find_object(server, exchange->collection, post ? kube_name(body) : exchange->name);
    json_t *result = NULL;

    *ret_status = 200;
    if (post && object) {
        *ret_status = 409;
        result = json_pack("{s:s}", "reason", "AlreadyExists");
    } else if (post) {
        *ret_status = 201;
        result = json_incref(add_object(server, exchange->collection, json_incref(body))->json);
    } else if (!object) {
        *ret_status = 404;
        result = json_pack("{s:s}", "reason", "NotFound");
    } else if (!text_equal(exchange->method, "GET") && precondition_fails(body, object)) {
        *ret_status = 409;
        result = json_pack("{s:s}", "reason", "Conflict");
    } else if (text_equal(exchange->method, "GET")) {
        result = json_incref(object->json);
    } else if (text_equal(exchange->method, "DELETE")) {
        fake_server_put(server, exchange->collection, exchange->name, NULL);
        result = json_pack("{s:s}", "status", "Success");
    } else {
        if (text_equal(exchange->method, "PUT"))
            (void)json_object_clear(object->json);
        merge(object->json, body);
        stamp(server, object->json);
        remember(server, exchange->collection, "MODIFIED", object->json);
        result = json_incref(object->json);
    }
    json_decref(body);
    return result;
}

static void answer_object(struct exchange *exchange)
{
    struct fake_server *server = exchange->way->server;
    int status;
    json_t *body = carry_out(exchange, &status);

    if (happens(server, server->rates.lose))
        fail(exchange, "kube-unreachable");
    else
        answer(exchange, status, 0, body);
    json_decref(body);
}

static void arrive(struct exchange *exchange)
{
    struct fake_server *server = exchange->way->server;
    const struct fake_rates *rates = &server->rates;

    if (server->down || happens(server, rates->refuse)) {
        fail(exchange, "kube-unreachable");
        return;
    }
    server->requests++;
    if (happens(server, rates->silent) && exchange->timeout_msec > 0) {
        exchange->began = true; /* and next time it runs out of time */
        loop_timer_set(exchange->timer,
                       loop_now(server->loop) + (uint64_t)exchange->timeout_msec * 1000);
    } else if (happens(server, rates->throttle)) {
        answer_status(exchange, 429, happens(server, 500) ? 1000 : 0, "TooManyRequests");
    } else if (happens(server, rates->unauthorized)) {
        answer_status(exchange, 401, 0, "Unauthorized");
    } else if (happens(server, rates->trouble)) {
        answer_status(exchange, 500, 0, "InternalError");
    } else if (exchange->stream) {
        begin_watch(exchange);
    } else if (exchange->name || !text_equal(exchange->method, "GET")) {
        answer_object(exchange);
    } else {
        answer_list(exchange);
    }
}

static void timer_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct exchange *exchange = context;

    (void)source;
    (void)now_usec;
    if (exchange->dead)
        forget(exchange);
    else if (!exchange->began)
        arrive(exchange);
    else if (!exchange->stream)
        fail(exchange, "kube-timeout");
    else
        go_on_watching(exchange);
}

void fake_server_down(struct fake_server *server, bool down)
{
    server->down = down;
    for (struct way *way = server->ways; down && way; way = way->next) {
        for (struct exchange *one = way->exchanges, *next; one; one = next) {
            next = one->next;
            if (one->stream && one->began && !one->dead) {
                one->began = false; /* arrives again, to be refused */
                loop_timer_set(one->timer, 0);
            }
        }
    }
}

static bool ends_with_status(const char *target, size_t length)
{
    return length > 7 && strncmp(target + length - 7, "/status", 7) == 0;
}

/* "/api/v1/things/name": these have two, three or five parts before the name. */
static void split_target(struct exchange *exchange, const char *target, bool collection_only)
{
    size_t path = strcspn(target, "?");
    const char *last = NULL;

    exchange->query = text_copy(target[path] ? target + path + 1 : "");
    for (size_t i = 0; i < path; i++) {
        if (target[i] == '/')
            last = target + i;
    }
    if (collection_only || text_equal(exchange->query, "") == false) {
        exchange->collection = text_format("%.*s", (int)path, target);
        return;
    }
    if (ends_with_status(target, path)) { /* of an object: it is the object's here */
        path -= strlen("/status");
        last = memrchr(target, '/', path);
    }
    exchange->collection = text_format("%.*s", (int)(last - target), target);
    exchange->name = text_format("%.*s", (int)(target + path - last - 1), last + 1);
}

static int start(void *transport, const struct kube_wire_request *request,
                 const struct kube_receiver *receiver, void **ret_exchange, struct error *error)
{
    struct way *way = transport;
    struct exchange *exchange = allocate(sizeof *exchange);
    struct loop *loop = way->server->loop;

    (void)error;
    *exchange = (struct exchange){.way = way,
                                  .next = way->exchanges,
                                  .receiver = *receiver,
                                  .method = text_copy(request->method),
                                  .body = request->body ? text_copy(request->body) : NULL,
                                  .stream = request->stream,
                                  .timeout_msec = request->timeout_msec};
    way->exchanges = exchange;
    split_target(exchange, request->target, text_equal(request->method, "POST"));
    loop_add_timer(loop, loop_now(loop) + 1 + fake_random(&way->server->random) % 20000,
                   timer_function, exchange, &exchange->timer);
    *ret_exchange = exchange;
    return 0;
}

static void cancel(void *transport, void *context)
{
    struct exchange *exchange = context;

    (void)transport;
    exchange->dead = true;
    loop_timer_set(exchange->timer, 0);
}

static void way_free(void *transport)
{
    struct way *way = transport, **at = &way->server->ways;

    while (way->exchanges)
        forget(way->exchanges);
    while (*at != way)
        at = &(*at)->next;
    *at = way->next;
    free(way);
}

struct kube_transport fake_server_connect(struct fake_server *server)
{
    static const struct kube_transport_ops ops = {start, cancel, way_free};
    struct way *way = allocate(sizeof *way);

    way->server = server;
    way->next = server->ways;
    server->ways = way;
    return (struct kube_transport){.ops = &ops, .self = way};
}
