/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/reflector.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/errors.h"
#include "kube/marks.h"
#include "kube/object.h"
#include "kube/watch-event.h"

enum {
    PAGE_SIZE = 50,
    OBJECT_MAXIMUM = 200000,
    PAGE_MAXIMUM = 100000, /* pages of one list: a server that never ends is not believed */
    WATCH_LEAST_SEC = 300,
    GRACE_MSEC = 30000, /* that a watch may be late with its end */
    PAUSE_LEAST_MSEC = 250,
    PAUSE_MOST_MSEC = 15000,
    WATCH_TRIES = 5, /* in a row, before a list is the better idea */
};

#define HEALTHY_USEC ((uint64_t)5 * 1000000) /* a watch that lasted so long was a good one */

struct kube_reflector {
    struct kube_client *client;
    struct loop *loop;
    struct kube_reflector_options options;
    char *path, *selectors; /* of a query, encoded, each with '&' before it */

    struct marks marks;
    char *position; /* resource version up to which all is known */
    mark_version version;
    char *next_page; /* encoded */
    unsigned pages;  /* of this list */
    unsigned page_size;
    uint32_t generation;
    bool list_next, synced;

    struct kube_handle *handle;
    struct loop_source *timer;
    unsigned failures; /* in a row */
    unsigned gone;     /* of these: how often the place to go on from was forgotten */
    uint64_t watch_started_usec;
    bool heard; /* something in this watch */
    struct kube_reflector_counts counts;

    unsigned busy; /* within functions that may free it */
    bool dead;
};

static void start(struct kube_reflector *reflector);

static void give_up(struct kube_reflector *reflector)
{
    marks_done(&reflector->marks);
    free(reflector->path);
    free(reflector->selectors);
    free(reflector->position);
    free(reflector->next_page);
    free(reflector);
}

void kube_reflector_free(struct kube_reflector *reflector)
{
    if (!reflector || reflector->dead)
        return;
    kube_cancel(STEAL_PTR(reflector->handle));
    loop_source_free(reflector->timer);
    reflector->dead = true;
    if (reflector->busy == 0)
        give_up(reflector);
}

static void enter(struct kube_reflector *reflector)
{
    reflector->busy++;
}

/* After calling out: whether the reflector is still wanted. The last to leave clears it away. */
static bool leave(struct kube_reflector *reflector)
{
    bool dead = reflector->dead;

    if (--reflector->busy == 0 && dead)
        give_up(reflector);
    return !dead;
}

static void tell(struct kube_reflector *reflector, enum kube_change change, const struct mark *mark,
                 json_t *object)
{
    struct kube_notice notice = {.change = change,
                                 .namespace = mark_namespace(mark),
                                 .name = mark_name(mark),
                                 .uid = mark_uid(mark),
                                 .object = object};

    reflector->counts.events++;
    reflector->options.notice(&notice, reflector->options.context);
}

/* The mark stays until its texts were told. */
static void lose(struct kube_reflector *reflector, struct mark *mark, json_t *object)
{
    tell(reflector, KUBE_DELETED, mark, object);
    marks_remove(&reflector->marks, mark);
}

/* An object is there. 0, or "kube-too-large". */
static int see(struct kube_reflector *reflector, json_t *object, struct error *error)
{
    const char *namespace = kube_namespace(object), *name = kube_name(object);
    const char *uid = kube_uid(object);
    mark_version version = mark_version_of(kube_resource_version(object));
    struct mark *mark = *name ? marks_find(&reflector->marks, namespace, name) : NULL;
    bool known = true;

    if (!*name || !*uid)
        return 0;
    if (mark && !text_equal(mark_uid(mark), uid)) {
        lose(reflector, mark, NULL);
        mark = NULL;
        if (reflector->dead)
            return 0;
    }
    if (!mark) {
        known = false;
        if (reflector->marks.table.count >= reflector->options.object_maximum) {
            kube_error_set(error, "kube-too-large", "%s has more than %zu objects", reflector->path,
                           reflector->options.object_maximum);
            return -EMSGSIZE;
        }
        mark = marks_add(&reflector->marks, namespace, name, uid);
        if (!mark)
            return 0;
    }
    mark->generation = reflector->generation;
    if (known && version != 0 && version == mark->version)
        return 0;
    mark->version = version;
    tell(reflector, known ? KUBE_MODIFIED : KUBE_ADDED, mark, object);
    return 0;
}

static uint32_t random_number(const struct kube_reflector *reflector)
{
    uint32_t number = 0;

    if (reflector->options.random)
        return reflector->options.random(reflector->options.random_context);
    (void)!getrandom(&number, sizeof number, GRND_NONBLOCK);
    return number;
}

/* Doubles with each failure in a row; half of it is chance. */
static unsigned next_pause(struct kube_reflector *reflector)
{
    unsigned doublings = reflector->failures < 16 ? reflector->failures : 16;
    unsigned pause = (unsigned)PAUSE_LEAST_MSEC << doublings;

    if (pause > PAUSE_MOST_MSEC)
        pause = PAUSE_MOST_MSEC;
    reflector->failures++;
    return pause / 2 + random_number(reflector) % (pause / 2 + 1);
}

/* To be called as the last thing: the reflector may be gone afterwards. */
static void fail(struct kube_reflector *reflector, const struct error *error,
                 unsigned retry_after_msec)
{
    unsigned pause = next_pause(reflector);

    if (retry_after_msec > pause)
        pause = retry_after_msec;
    reflector->counts.troubles++;
    loop_timer_set(reflector->timer, loop_now(reflector->loop) + (uint64_t)pause * 1000);
    if (reflector->options.trouble) {
        enter(reflector);
        reflector->options.trouble(error, pause, reflector->options.context);
        (void)leave(reflector);
    }
}

static void timer_function(struct loop_source *source, uint64_t now_usec, void *context)
{
    (void)source;
    (void)now_usec;
    start(context);
}

static void hear(struct kube_reflector *reflector)
{
    reflector->counts.last_heard_usec = loop_now(reflector->loop);
}

/* Marks that the list did not have are of objects that have gone. */
static void sweep(struct kube_reflector *reflector)
{
    struct mark *mark = reflector->marks.first, *next;

    for (; mark && !reflector->dead; mark = next) {
        next = mark->next;
        if (mark->generation != reflector->generation)
            lose(reflector, mark, NULL);
    }
}

static void set_position(struct kube_reflector *reflector, const char *text)
{
    char *copy = text_copy(text);

    free(reflector->position);
    reflector->position = copy;
    reflector->version = mark_version_of(text);
}

static void finish_list(struct kube_reflector *reflector, const json_t *list)
{
    sweep(reflector);
    if (reflector->dead)
        return;
    set_position(reflector, kube_resource_version(list));
    reflector->list_next = false;
    reflector->synced = true;
    if (reflector->options.synced)
        reflector->options.synced(reflector->options.context);
    (void)malloc_trim(0); /* pages are large, and the next one is long off */
}

static int take_page(struct kube_reflector *reflector, const json_t *list, struct error *error)
{
    const char *token = kube_text(list, "metadata", "continue");
    const json_t *items = json_object_get(list, "items");
    size_t index;
    json_t *item;
    int r = 0;

    if ((items && !json_is_array(items) && !json_is_null(items)) || !*kube_resource_version(list) ||
        ++reflector->pages > PAGE_MAXIMUM) {
        kube_error_set(error, "kube-protocol", "GET %s: the answer is no list", reflector->path);
        return -EBADMSG;
    }
    json_array_foreach(items, index, item)
    {
        r = see(reflector, item, error);
        if (r < 0 || reflector->dead)
            return r;
    }
    free(STEAL_PTR(reflector->next_page));
    if (token && *token)
        reflector->next_page = kube_encode(token);
    else
        finish_list(reflector, list);
    return r;
}

static void list_failed(struct kube_reflector *reflector, const struct error *error,
                        unsigned retry_after_msec)
{
    free(STEAL_PTR(reflector->next_page));
    if (error_is(error, "kube-too-large") && reflector->page_size > 1)
        reflector->page_size /= 2;
    fail(reflector, error, retry_after_msec);
}

static void receive_page(const struct kube_answer *answer, const struct error *error, void *context)
{
    struct kube_reflector *reflector = context;
    struct error own = ERROR_INIT;

    reflector->handle = NULL;
    if (error) {
        list_failed(reflector, error, answer->retry_after_msec);
        return;
    }
    hear(reflector);
    enter(reflector);
    if (take_page(reflector, answer->body, &own) < 0 && !reflector->dead)
        list_failed(reflector, &own, 0);
    else if (!reflector->dead)
        start(reflector);
    (void)leave(reflector);
    error_done(&own);
}

static void list(struct kube_reflector *reflector)
{
    CLEANUP(free_ptr)
    char *query = text_format("limit=%u%s%s%s", reflector->page_size, reflector->selectors,
                              reflector->next_page ? "&continue=" : "",
                              reflector->next_page ? reflector->next_page : "");
    const struct kube_request request = {.path = reflector->path, .query = query};

    if (!reflector->next_page) {
        reflector->generation++;
        reflector->pages = 0;
        reflector->counts.lists++;
    }
    reflector->counts.pages++;
    kube_send(reflector->client, &request, receive_page, reflector, &reflector->handle);
}

/* Old servers give a deleted object its last version, new ones that of the deletion. */
static void take_deletion(struct kube_reflector *reflector, json_t *object)
{
    mark_version version = mark_version_of(kube_resource_version(object));
    struct mark *mark = marks_find(&reflector->marks, kube_namespace(object), kube_name(object));

    if (!mark || !text_equal(mark_uid(mark), kube_uid(object)))
        return;
    if (version != mark->version && mark_version_is_old(version, mark->version))
        return; /* told again after it came back */
    lose(reflector, mark, object);
}

static int take_error(const struct kube_reflector *reflector, const json_t *status,
                      struct error *error)
{
    int64_t code = kube_number(status, "code");

    if (text_equal(kube_text(status, "reason"), "Expired") ||
        text_equal(kube_text(status, "reason"), "Gone"))
        code = 410;
    kube_error_of_status("GET", reflector->path, code >= 400 && code < 600 ? (int)code : 500,
                         status, error);
    return -EIO;
}

static int take_event(struct kube_reflector *reflector, const struct watch_event *event,
                      struct error *error)
{
    const char *text = kube_resource_version(event->object);
    mark_version version = mark_version_of(text);
    bool old = mark_version_is_old(version, reflector->version);
    int r = 0;

    if (event->type == WATCH_ERROR)
        return take_error(reflector, event->object, error);
    if (event->type == WATCH_DELETED)
        take_deletion(reflector, event->object);
    else if (event->type != WATCH_BOOKMARK && !old)
        r = see(reflector, event->object, error);
    if (r == 0 && !reflector->dead && version != 0 && !old)
        set_position(reflector, text);
    return r;
}

/* Not because of what was asked: the same question is right when the server is there again, and
 * costs it less than everybody's lists. */
static bool is_passing(const struct error *error)
{
    return error_is(error, "kube-unreachable") || error_is(error, "kube-untrusted") ||
           error_is(error, "kube-timeout") || error_is(error, "kube-throttled") ||
           error_is(error, "kube-unauthorized");
}

static void watch_failed(struct kube_reflector *reflector, const struct error *error,
                         unsigned retry_after_msec)
{
    if (error_is(error, "kube-gone") || error_is(error, "kube-protocol") ||
        error_is(error, "kube-too-large") || error_is(error, "kube-invalid") ||
        (reflector->failures >= WATCH_TRIES && !is_passing(error)))
        reflector->list_next = true;
    if (error_is(error,
                 "kube-gone")) /* the server is there: no reason to wait as for one that is not */
        reflector->failures = reflector->gone++;
    fail(reflector, error, retry_after_msec);
}

/* A good watch ends the row of failures, however it ends itself. */
static void assess_watch(struct kube_reflector *reflector)
{
    if (reflector->heard ||
        loop_now(reflector->loop) - reflector->watch_started_usec >= HEALTHY_USEC)
        reflector->failures = reflector->gone = 0;
}

/* A failure within a line ends the watch from here, as the end would come too late. */
static int receive_line(char *line, size_t length, void *context)
{
    struct kube_reflector *reflector = context;
    struct watch_event event = {0};
    struct error error = ERROR_INIT;
    int r;

    hear(reflector);
    enter(reflector);
    r = watch_event_parse(line, length, &event, &error);
    if (r == 0)
        r = take_event(reflector, &event, &error);
    if (r == 0)
        reflector->heard = true;
    if (r < 0 && !reflector->dead) {
        assess_watch(reflector);
        kube_cancel(STEAL_PTR(reflector->handle));
        watch_failed(reflector, &error, 0);
    }
    watch_event_done(&event);
    error_done(&error);
    return leave(reflector) ? r : -ECANCELED;
}

static void receive_watch_end(const struct kube_answer *answer, const struct error *error,
                              void *context)
{
    struct kube_reflector *reflector = context;
    uint64_t now = loop_now(reflector->loop);

    reflector->handle = NULL;
    assess_watch(reflector);
    if (error)
        watch_failed(reflector, error, answer->retry_after_msec);
    else if (reflector->failures == 0 && now - reflector->watch_started_usec >= HEALTHY_USEC)
        start(reflector);
    else /* a server that ends watches at once is not asked all the time */
        loop_timer_set(reflector->timer, now + (uint64_t)next_pause(reflector) * 1000);
}

static void watch(struct kube_reflector *reflector)
{
    unsigned seconds = reflector->options.watch_sec;
    CLEANUP(free_ptr) char *position = kube_encode(reflector->position);
    CLEANUP(free_ptr) char *query = NULL;
    struct kube_request request = {.path = reflector->path};

    if (!seconds)
        seconds = WATCH_LEAST_SEC + random_number(reflector) % (WATCH_LEAST_SEC + 1);
    query = text_format("watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=%s%s",
                        seconds, position, reflector->selectors);
    request.query = query;
    request.timeout_msec = seconds * 1000 + GRACE_MSEC;
    reflector->counts.watches++;
    reflector->heard = false;
    reflector->watch_started_usec = loop_now(reflector->loop);
    kube_stream(reflector->client, &request, receive_line, receive_watch_end, reflector,
                &reflector->handle);
}

static void start(struct kube_reflector *reflector)
{
    if (reflector->list_next)
        list(reflector);
    else
        watch(reflector);
}

static char *make_selectors(const struct kube_reflector_options *options)
{
    CLEANUP(free_ptr)
    char *labels = kube_encode(options->label_selector ? options->label_selector : "");
    CLEANUP(free_ptr)
    char *fields = kube_encode(options->field_selector ? options->field_selector : "");

    return text_format("%s%s%s%s", *labels ? "&labelSelector=" : "", labels,
                       *fields ? "&fieldSelector=" : "", fields);
}

struct kube_reflector *kube_reflector_new(struct kube_client *client,
                                          const struct kube_reflector_options *options)
{
    struct kube_reflector *reflector = allocate(sizeof *reflector);

    reflector->client = client;
    reflector->loop = kube_client_loop(client);
    reflector->options = *options;
    if (!reflector->options.object_maximum)
        reflector->options.object_maximum = OBJECT_MAXIMUM;
    reflector->page_size = options->page_size ? options->page_size : PAGE_SIZE;
    reflector->path = text_copy(options->path);
    reflector->selectors = make_selectors(options);
    reflector->options.path = reflector->options.label_selector = NULL;
    reflector->options.field_selector = NULL;
    reflector->list_next = true;
    loop_add_timer(reflector->loop, LOOP_NEVER, timer_function, reflector, &reflector->timer);
    start(reflector);
    return reflector;
}

bool kube_reflector_synced(const struct kube_reflector *reflector)
{
    return reflector->synced;
}

size_t kube_reflector_count(const struct kube_reflector *reflector)
{
    return reflector->marks.table.count;
}

struct kube_reflector_counts kube_reflector_counts(const struct kube_reflector *reflector)
{
    return reflector->counts;
}
