/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/events.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "http/printable.h"
#include "kube/errors.h"
#include "kube/hash.h"
#include "kube/object.h"

enum {
    RECENT_MAXIMUM = 256, /* events that can still be counted up, and objects with a budget */
    WAITING_MAXIMUM = 64,
    BURST = 25,
    TRIES = 3,
    MESSAGE_MAXIMUM = 1024,
    NAME_MAXIMUM = 200, /* of the object, within the name of the event */
};

#define RECENT_USEC ((uint64_t)600 * 1000000)
#define TOKEN_USEC ((uint64_t)10 * 1000000)

struct entry {
    struct entry *next; /* the latest first */
    uint64_t hash;
    char *body; /* JSON */
    char *name, *namespace;
    uint64_t last_usec;
    int64_t last_date;
    unsigned count, sent_count;
    bool exists;  /* at the server */
    bool waiting; /* to be written */
};

struct budget {
    uint64_t object;    /* hash; 0: not used */
    uint64_t full_usec; /* when all tokens are there again */
};

struct kube_recorder {
    struct kube_client *client;
    struct loop *loop;
    char *component, *instance;
    struct entry *recent;
    unsigned recent_count;
    struct budget budgets[RECENT_MAXIMUM];
    struct entry *waiting[WAITING_MAXIMUM];
    unsigned waiting_count, tries;
    struct kube_handle *handle;
    struct loop_source *timer;
    uint64_t names; /* given so far */
    struct kube_recorder_counts counts;
};

static void timer_function(struct loop_source *source, uint64_t now_usec, void *context);

struct kube_recorder *kube_recorder_new(struct kube_client *client, const char *component,
                                        const char *instance)
{
    struct kube_recorder *recorder = allocate(sizeof *recorder);

    recorder->client = client;
    recorder->loop = kube_client_loop(client);
    recorder->component = text_copy(component);
    recorder->instance = text_copy(instance);
    loop_add_timer(recorder->loop, LOOP_NEVER, timer_function, recorder, &recorder->timer);
    return recorder;
}

static void entry_free(struct entry *entry)
{
    free(entry->body);
    free(entry->name);
    free(entry->namespace);
    free(entry);
}

void kube_recorder_free(struct kube_recorder *recorder)
{
    if (!recorder)
        return;
    kube_cancel(recorder->handle);
    loop_source_free(recorder->timer);
    for (struct entry *entry = recorder->recent, *next; entry; entry = next) {
        next = entry->next;
        entry_free(entry);
    }
    free(recorder->component);
    free(recorder->instance);
    free(recorder);
}

struct kube_involved kube_involved_of(const json_t *object, const char *api_version,
                                      const char *kind)
{
    return (struct kube_involved){.api_version = api_version,
                                  .kind = kind,
                                  .namespace = kube_namespace(object),
                                  .name = kube_name(object),
                                  .uid = kube_uid(object),
                                  .resource_version = kube_resource_version(object)};
}

/* One of 25 tokens, of which a new one comes every ten seconds. The budget that has been full for
 * longest makes place for a new object. */
static bool take_token(struct kube_recorder *recorder, uint64_t object)
{
    uint64_t now = loop_now(recorder->loop);
    struct budget *budget = &recorder->budgets[0];

    for (unsigned i = 0; i < RECENT_MAXIMUM; i++) {
        if (recorder->budgets[i].object == object) {
            budget = &recorder->budgets[i];
            break;
        }
        if (recorder->budgets[i].full_usec < budget->full_usec)
            budget = &recorder->budgets[i];
    }
    if (budget->object != object || budget->full_usec < now)
        *budget = (struct budget){.object = object, .full_usec = now};
    if (budget->full_usec - now > (uint64_t)(BURST - 1) * TOKEN_USEC)
        return false;
    budget->full_usec += TOKEN_USEC;
    return true;
}

static void set_optional(json_t *object, const char *name, const char *value)
{
    if (value && *value)
        (void)json_object_set_new(object, name, json_string(value));
}

static json_t *involved_object(const struct kube_involved *involved)
{
    json_t *object = json_object();

    set_optional(object, "apiVersion", involved->api_version);
    set_optional(object, "kind", involved->kind);
    set_optional(object, "namespace", involved->namespace);
    set_optional(object, "name", involved->name);
    set_optional(object, "uid", involved->uid);
    set_optional(object, "resourceVersion", involved->resource_version);
    set_optional(object, "fieldPath", involved->field_path);
    return object;
}

static char *make_body(const struct kube_recorder *recorder, const struct entry *entry,
                       const struct kube_involved *involved, enum kube_event_type type,
                       const char *reason, const char *message)
{
    CLEANUP(free_ptr) char *now = kube_time(entry->last_date);
    json_t *body = json_pack(
        "{s:s,s:s,s:{s:s,s:s},s:o,s:s,s:s,s:s,s:{s:s,s:s},s:s,s:s,s:s}", "apiVersion", "v1", "kind",
        "Event", "metadata", "name", entry->name, "namespace", entry->namespace, "involvedObject",
        involved_object(involved), "reason", reason, "message", message, "type",
        type == KUBE_EVENT_WARNING ? "Warning" : "Normal", "source", "component",
        recorder->component, "host", recorder->instance, "reportingComponent", recorder->component,
        "reportingInstance", recorder->instance, "firstTimestamp", now);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    json_decref(body);
    return text;
}

/* The oldest that does not wait to be written makes place. */
static void make_place(struct kube_recorder *recorder)
{
    struct entry **at = &recorder->recent, **oldest = NULL, *entry;

    if (recorder->recent_count < RECENT_MAXIMUM)
        return;
    for (; *at; at = &(*at)->next) {
        if (!(*at)->waiting)
            oldest = at;
    }
    if (!oldest)
        return;
    entry = *oldest;
    *oldest = entry->next;
    entry_free(entry);
    recorder->recent_count--;
}

static struct entry *add_entry(struct kube_recorder *recorder, uint64_t hash,
                               const struct kube_involved *involved)
{
    struct entry *entry = allocate(sizeof *entry);
    bool spaced = involved->namespace && *involved->namespace;

    make_place(recorder);
    entry->hash = hash;
    entry->last_date = loop_date(recorder->loop);
    entry->namespace = text_copy(spaced ? involved->namespace : "default");
    entry->name = text_format("%.*s.%" PRIx64, NAME_MAXIMUM, involved->name,
                              (uint64_t)entry->last_date * 64 + recorder->names++ % 64);
    entry->next = recorder->recent;
    recorder->recent = entry;
    recorder->recent_count++;
    return entry;
}

static struct entry *find_entry(const struct kube_recorder *recorder, uint64_t hash)
{
    uint64_t now = loop_now(recorder->loop);

    for (struct entry *entry = recorder->recent; entry; entry = entry->next) {
        if (entry->hash == hash && now - entry->last_usec < RECENT_USEC)
            return entry;
    }
    return NULL;
}

static void forget(struct kube_recorder *recorder, struct entry *entry)
{
    struct entry **at = &recorder->recent;

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    entry_free(entry);
    recorder->recent_count--;
}

static void schedule(struct kube_recorder *recorder)
{
    if (!recorder->handle && recorder->waiting_count > 0 &&
        loop_timer_at(recorder->timer) == LOOP_NEVER)
        loop_timer_set(recorder->timer, 0);
}

static void enqueue(struct kube_recorder *recorder, struct entry *entry)
{
    entry->waiting = true;
    recorder->waiting[recorder->waiting_count++] = entry;
    schedule(recorder);
}

static struct entry *dequeue(struct kube_recorder *recorder)
{
    struct entry *entry = recorder->waiting[0];

    recorder->waiting_count--;
    memmove(recorder->waiting, recorder->waiting + 1,
            recorder->waiting_count * sizeof recorder->waiting[0]);
    recorder->tries = 0;
    entry->waiting = false;
    return entry;
}

static void wrote(struct kube_recorder *recorder)
{
    struct entry *entry = dequeue(recorder);

    if (entry->exists)
        recorder->counts.counted_up++;
    else
        recorder->counts.written++;
    entry->exists = true;
    if (entry->count != entry->sent_count)
        enqueue(recorder, entry);
}

static bool may_go_better(const struct error *error)
{
    return error_is(error, "kube-unreachable") || error_is(error, "kube-timeout") ||
           error_is(error, "kube-server") || error_is(error, "kube-throttled");
}

static void receive_answer(const struct kube_answer *answer, const struct error *error,
                           void *context)
{
    struct kube_recorder *recorder = context;
    struct entry *entry = recorder->waiting[0];

    (void)answer;
    recorder->handle = NULL;
    if (!error || (!entry->exists && error_is(error, "kube-exists"))) {
        wrote(recorder);
    } else if (entry->exists && error_is(error, "kube-not-found") && ++recorder->tries < TRIES) {
        entry->exists = false; /* events live for an hour only */
    } else if (may_go_better(error) && ++recorder->tries < TRIES) {
        loop_timer_set(recorder->timer,
                       loop_now(recorder->loop) + ((uint64_t)1000000 << recorder->tries));
    } else {
        recorder->counts.failed++;
        forget(recorder, dequeue(recorder));
    }
    schedule(recorder);
}

static void send_new(struct kube_recorder *recorder, const struct entry *entry, const char *last)
{
    json_t *body = kube_json_parse(entry->body, strlen(entry->body));
    CLEANUP(free_ptr) char *path = kube_path(&kube_events, entry->namespace, NULL, NULL);
    const struct kube_request request = {.method = "POST", .path = path, .body = body};

    (void)json_object_set_new(body, "count", json_integer(entry->count));
    (void)json_object_set_new(body, "lastTimestamp", json_string(last));
    kube_send(recorder->client, &request, receive_answer, recorder, &recorder->handle);
    json_decref(body);
}

static void send_count(struct kube_recorder *recorder, const struct entry *entry, const char *last)
{
    json_t *body = json_pack("{s:i,s:s}", "count", (int)entry->count, "lastTimestamp", last);
    CLEANUP(free_ptr) char *path = kube_path(&kube_events, entry->namespace, entry->name, NULL);
    const struct kube_request request = {
        .method = "PATCH", .path = path, .content_type = KUBE_MERGE_PATCH, .body = body};

    kube_send(recorder->client, &request, receive_answer, recorder, &recorder->handle);
    json_decref(body);
}

static void timer_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct kube_recorder *recorder = context;
    struct entry *entry = recorder->waiting[0];
    CLEANUP(free_ptr) char *last = NULL;

    (void)source;
    (void)now_usec;
    if (recorder->waiting_count == 0 || recorder->handle)
        return;
    last = kube_time(entry->last_date);
    entry->sent_count = entry->count;
    if (entry->exists)
        send_count(recorder, entry, last);
    else
        send_new(recorder, entry, last);
}

static uint64_t hash_of(const struct kube_involved *involved, enum kube_event_type type,
                        const char *reason, const char *message)
{
    CLEANUP(free_ptr)
    char *all =
        text_format("%s\n%s\n%s\n%s\n%s\n%d\n%s\n%s", involved->kind,
                    involved->namespace ? involved->namespace : "", involved->name, involved->uid,
                    involved->field_path ? involved->field_path : "", (int)type, reason, message);

    return hash_text(all);
}

static void record(struct kube_recorder *recorder, const struct kube_involved *involved,
                   enum kube_event_type type, const char *reason, const char *message)
{
    uint64_t hash = hash_of(involved, type, reason, message);
    struct entry *entry = find_entry(recorder, hash);
    CLEANUP(free_ptr) char *object = text_format("%s\n%s", involved->uid, involved->name);
    bool room = recorder->waiting_count < WAITING_MAXIMUM;
    bool allowed = (entry && entry->waiting) || (take_token(recorder, hash_text(object)) && room);

    if (!entry && !allowed) {
        recorder->counts.dropped++;
        return;
    }
    if (!entry) {
        entry = add_entry(recorder, hash, involved);
        entry->body = make_body(recorder, entry, involved, type, reason, message);
        if (!entry->body) {
            recorder->counts.dropped++;
            forget(recorder, entry);
            return;
        }
    }
    entry->count++;
    entry->last_usec = loop_now(recorder->loop);
    entry->last_date = loop_date(recorder->loop);
    if (allowed && !entry->waiting)
        enqueue(recorder, entry);
}

void kube_event(struct kube_recorder *recorder, const struct kube_involved *involved,
                enum kube_event_type type, const char *reason, const char *format, ...)
{
    CLEANUP(free_ptr) char *message = NULL;
    CLEANUP(free_ptr) char *clean = NULL;
    va_list arguments;

    va_start(arguments, format);
    message = text_vformat(format, arguments);
    va_end(arguments);
    clean = printable_copy(message, strlen(message), MESSAGE_MAXIMUM - strlen("..."));
    record(recorder, involved, type, reason, clean);
}

struct kube_recorder_counts kube_recorder_counts(const struct kube_recorder *recorder)
{
    return recorder->counts;
}
