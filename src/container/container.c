/* SPDX-License-Identifier: Apache-2.0 */
/* The structure, choosing one of many, and the search through all back ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "container/look.h"
#include "container/record.h"
#include "container/runtime.h"

enum { LISTED_MAXIMUM = 10 }; /* candidates that a message names */

DEFINE_CLEANUP(free_runtime, struct runtime *, runtime_free)

void container_done(struct container *container)
{
    char *const texts[] = {container->id,           container->name,       container->image,
                           container->image_digest, container->pod_name,   container->pod_namespace,
                           container->pod_uid,      container->sandbox_id, container->runtime,
                           container->bundle};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free(texts[i]);
    for (size_t i = 0; container->pod_addresses && container->pod_addresses[i]; i++)
        free(container->pod_addresses[i]);
    free(container->pod_addresses);
    json_decref(container->labels);
    json_decref(container->annotations);
    json_decref(container->spec);
    *container = CONTAINER_INIT;
}

void container_move(struct container *to, struct container *from)
{
    *to = *from;
    *from = CONTAINER_INIT;
}

void container_list_done(struct container_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        container_done(&list->containers[i]);
    free(list->containers);
    *list = CONTAINER_LIST_INIT;
}

const char *container_state_name(enum container_state state)
{
    static const char *const names[] = {
        [CONTAINER_CREATED] = "created", [CONTAINER_RUNNING] = "running",
        [CONTAINER_PAUSED] = "paused",   [CONTAINER_EXITED] = "exited",
        [CONTAINER_UNKNOWN] = "unknown",
    };

    return names[state];
}

enum match { MATCH_ID, MATCH_NAME, MATCH_NAME_OF_ENDED, MATCH_BEGINNING };

static bool has_name(const struct container *container, const char *text)
{
    CLEANUP(free_ptr) char *qualified = NULL;

    if (text_equal(container->name, text))
        return true;
    if (!container->name || !container->pod_name || !container->pod_namespace)
        return false;
    qualified =
        text_format("%s/%s/%s", container->pod_namespace, container->pod_name, container->name);
    return text_equal(qualified, text);
}

static bool matches(const struct container *container, const char *text, enum match how)
{
    bool running = container->state == CONTAINER_RUNNING || container->state == CONTAINER_PAUSED;

    switch (how) {
    case MATCH_ID:
        return text_equal(container->id, text);
    case MATCH_NAME:
        return running && has_name(container, text);
    case MATCH_NAME_OF_ENDED:
        return !running && has_name(container, text);
    default:
        return text_starts_with(container->id, text);
    }
}

static int ambiguous(const struct container_list *list, const char *text, enum match how,
                     struct error *error)
{
    CLEANUP(buffer_done) struct buffer names = LOOKED_INIT;
    size_t listed = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct container *one = &list->containers[i];

        if (!matches(one, text, how) || listed++ >= LISTED_MAXIMUM)
            continue;
        looked_add(&names, "%s (%s/%s/%s)", one->id, one->pod_namespace ? one->pod_namespace : "?",
                   one->pod_name ? one->pod_name : "?", one->name ? one->name : "?");
    }
    if (listed > LISTED_MAXIMUM)
        looked_add(&names, "and %zu more", listed - LISTED_MAXIMUM);
    (void)error_set(error, "container-ambiguous", 0, "%s can be each of %s", text,
                    names.data ? names.data : "many");
    return -EEXIST;
}

static size_t count_matches(const struct container_list *list, const char *text, enum match how,
                            size_t *ret_last)
{
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (matches(&list->containers[i], text, how)) {
            *ret_last = i;
            count++;
        }
    }
    return count;
}

int container_choose(const struct container_list *list, const char *text, const char *where,
                     size_t *ret_index, struct error *error)
{
    static const enum match order[] = {MATCH_ID, MATCH_NAME, MATCH_BEGINNING};
    size_t index = 0;

    for (size_t i = 0; *text && i < sizeof order / sizeof order[0]; i++) {
        size_t count = count_matches(list, text, order[i], &index);

        if (count > 1)
            return ambiguous(list, text, order[i], error);
        if (count == 1) {
            *ret_index = index;
            return 0;
        }
    }
    if (count_matches(list, text, MATCH_NAME_OF_ENDED, &index) > 0)
        return record_not_running(&list->containers[index],
                                  "no container of that name has a process", error);
    (void)error_set(error, "container-missing", 0, "%s has no container \"%s\"", where, text);
    return -ENOENT;
}

void looked_add(struct buffer *looked, const char *format, ...)
{
    CLEANUP(free_ptr) char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    /* What does not fit is left out: it is for people. */
    (void)buffer_printf(looked, "%s%s", looked->length ? ", " : "", text);
}

int looked_in_vain(const struct buffer *looked, const char *text, struct error *error)
{
    (void)error_set(error, "container-missing", 0, "There is no container \"%s\" (looked at: %s)",
                    text, looked->length ? looked->data : "nothing; no runtime was found");
    return -ENOENT;
}

static int find_at_endpoint(const char *endpoint, const char *text, struct container *ret,
                            struct error *error)
{
    CLEANUP(free_runtime) struct runtime *runtime = NULL;
    int r = runtime_open(endpoint, RUNTIME_TIMEOUT_MSEC, &runtime, error);

    return r < 0 ? r : runtime_find(runtime, text, ret, error);
}

/* Asks all runtimes that are here. One that can't be asked is no reason to stop, but is named. */
static int find_at_sockets(const char *text, struct container *ret, struct buffer *looked,
                           struct error *error)
{
    CLEANUP(free_sockets) char **sockets = runtime_sockets();

    for (size_t i = 0; sockets[i]; i++) {
        CLEANUP(error_done) struct error own = ERROR_INIT;
        int r = find_at_endpoint(sockets[i], text, ret, &own);
        bool missing;

        if (r == 0)
            return 0;
        missing = error_is(&own, "container-missing");
        if (!missing && (r == -EINTR || text_starts_with(own.code, "container-"))) {
            error_move(error, &own);
            return r;
        }
        looked_add(looked, "%s%s%s", sockets[i], missing ? "" : ": ", missing ? "" : own.message);
    }
    return looked_in_vain(looked, text, error);
}

int container_find(const char *endpoint, const char *state_directory, const char *text,
                   struct container *ret, struct error *error)
{
    CLEANUP(buffer_done) struct buffer looked = LOOKED_INIT;
    CLEANUP(error_done) struct error own = ERROR_INIT;
    int r;

    if (endpoint)
        return find_at_endpoint(endpoint, text, ret, error);
    r = state_find(text, state_directory, ret, &looked, &own);
    if (error_is(&own, "container-missing"))
        return find_at_sockets(text, ret, &looked, error);
    if (r < 0)
        error_move(error, &own);
    return r;
}

json_t *container_facts(const struct container *container)
{
    json_t *facts =
        json_pack("{ss* ss* ss* ss* ss* sO*}", "id", container->id, "name", container->name,
                  "image", container->image, "image_digest", container->image_digest, "runtime",
                  container->runtime, "labels", container->labels);

    if (container->pod_name)
        (void)json_object_set_new(facts, "pod",
                                  json_pack("{ss* ss* ss*}", "name", container->pod_name,
                                            "namespace", container->pod_namespace, "uid",
                                            container->pod_uid));
    return facts;
}
