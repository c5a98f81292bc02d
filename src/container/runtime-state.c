/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers by the files that those who run them keep. runc: ROOT/ID/state.json
 * (opencontainers/runc, libcontainer); crun: ROOT/ID/status; containerd: STATE/
 * io.containerd.runtime.v2.task/NAMESPACE/ID with init.pid and the bundle's config.json.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/look.h"
#include "container/record.h"
#include "container/runtime.h"

#define TASKS "io.containerd.runtime.v2.task"

enum {
    HITS_MAXIMUM = 4096,
    PID_TEXT_MAXIMUM = 64,
    LISTED_MAXIMUM = 10,
};

enum keeper { KEEPER_RUNC, KEEPER_CRUN, KEEPER_CONTAINERD };

struct root {
    const char *path;
    bool namespaces; /* PATH/NAMESPACE/ID instead of PATH/ID */
    bool tasks;      /* of containerd; else of an OCI runtime */
};

static const struct root usual_roots[] = {
    {"/run/runc", false, false},
    {"/run/crun", false, false},
    {"/run/containerd/runc", true, false},
    {"/run/docker/runtime-runc", true, false},
    {"/run/containerd/" TASKS, true, true},
    {"/run/k3s/containerd/" TASKS, true, true},
};

struct hit {
    enum keeper keeper;
    char *id, *directory;
};

struct hits {
    struct hit *hits;
    size_t count;
};

static void hits_done(struct hits *hits)
{
    for (size_t i = 0; i < hits->count; i++) {
        free(hits->hits[i].id);
        free(hits->hits[i].directory);
    }
    free(hits->hits);
}

static bool has_file(const char *directory, const char *name)
{
    CLEANUP(free_ptr) char *path = text_format("%s/%s", directory, name);

    return access(path, F_OK) == 0;
}

static bool identify(const char *directory, bool tasks, enum keeper *ret)
{
    if (tasks && has_file(directory, "init.pid"))
        *ret = KEEPER_CONTAINERD;
    else if (!tasks && has_file(directory, "state.json"))
        *ret = KEEPER_RUNC;
    else if (!tasks && has_file(directory, "status"))
        *ret = KEEPER_CRUN;
    else
        return false;
    return true;
}

static void add_hit(struct hits *hits, const char *root, const char *id, bool tasks)
{
    CLEANUP(free_ptr) char *directory = text_format("%s/%s", root, id);
    enum keeper keeper;

    if (hits->count >= HITS_MAXIMUM || !identify(directory, tasks, &keeper))
        return;
    if (!hits->hits)
        hits->hits = allocate(HITS_MAXIMUM * sizeof *hits->hits);
    hits->hits[hits->count++] =
        (struct hit){.keeper = keeper, .id = text_copy(id), .directory = STEAL_PTR(directory)};
}

/* Below `path` with whole or partial id. False: there is no such directory. */
static bool search_directory(const char *path, const char *text, bool tasks, struct hits *hits)
{
    CLEANUP(close_directory) DIR *directory = opendir(path);
    const struct dirent *entry;

    if (!directory)
        return false;
    while ((entry = readdir(directory))) {
        if (text_starts_with(entry->d_name, text) && record_is_id(entry->d_name))
            add_hit(hits, path, entry->d_name, tasks);
    }
    return true;
}

static bool search_root(const struct root *root, const char *text, struct hits *hits)
{
    CLEANUP(close_directory) DIR *directory = NULL;
    const struct dirent *entry;

    if (!root->namespaces)
        return search_directory(root->path, text, root->tasks, hits);
    directory = opendir(root->path);
    if (!directory)
        return false;
    while ((entry = readdir(directory))) {
        CLEANUP(free_ptr) char *path = text_format("%s/%s", root->path, entry->d_name);

        if (entry->d_name[0] != '.')
            (void)search_directory(path, text, root->tasks, hits);
    }
    return true;
}

/* A directory that a user names may be of each kind. */
static void search_named(const char *path, const char *text, struct hits *hits,
                         struct buffer *looked)
{
    CLEANUP(free_ptr) char *tasks = text_format("%s/" TASKS, path);
    CLEANUP(free_ptr) char *runc = text_format("%s/runc", path);
    const struct root roots[] = {
        {path, false, false}, {path, true, false}, {runc, true, false}, {tasks, true, true}};

    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        (void)search_root(&roots[i], text, hits);
    looked_add(looked, "%s", path);
}

/* When something has the whole id, only that counts. */
static void keep_whole_ids(struct hits *hits, const char *text)
{
    size_t kept = 0;

    for (size_t i = 0; i < hits->count; i++) {
        struct hit hit = hits->hits[i];

        if (!text_equal(hit.id, text))
            continue;
        hits->hits[i] = hits->hits[kept];
        hits->hits[kept++] = hit;
    }
    if (kept == 0)
        return;
    while (hits->count > kept) {
        hits->count--;
        free(hits->hits[hits->count].id);
        free(hits->hits[hits->count].directory);
    }
}

static int ambiguous(const struct hits *hits, const char *text, struct error *error)
{
    CLEANUP(buffer_done) struct buffer names = LOOKED_INIT;

    for (size_t i = 0; i < hits->count && i < LISTED_MAXIMUM; i++)
        looked_add(&names, "%s", hits->hits[i].directory);
    if (hits->count > LISTED_MAXIMUM)
        looked_add(&names, "and %zu more", hits->count - LISTED_MAXIMUM);
    (void)error_set(error, "container-ambiguous", 0, "%s can be each of %s", text, names.data);
    return -EEXIST;
}

/* The bundle's path among runc's own labels of a container. */
static const char *bundle_label(const json_t *state)
{
    const json_t *labels = json_object_get(json_object_get(state, "config"), "labels");
    const json_t *label;
    size_t i;

    json_array_foreach(labels, i, label)
    {
        const char *text = json_string_value(label);

        if (text && text_starts_with(text, "bundle=/"))
            return text + strlen("bundle=");
    }
    return NULL;
}

static int read_spec(const char *bundle, struct container *container, struct error *error)
{
    CLEANUP(free_ptr) char *path = NULL;
    int r;

    if (!bundle || *bundle != '/')
        return record_error(error, "The state of container %s does not name its bundle",
                            container->id);
    container->bundle = text_copy(bundle);
    path = text_format("%s/config.json", bundle);
    r = record_read(AT_FDCWD, path, path, &container->spec, error);
    return r == -ENOENT ? -EBADMSG : r;
}

static uint64_t member_time(const json_t *state, const char *name)
{
    const json_t *value = json_object_get(state, name);

    return json_is_integer(value) && json_integer_value(value) > 0
               ? (uint64_t)json_integer_value(value)
               : 0;
}

/* Both OCI runtimes: a file with the process, its start time and the bundle. */
static int load_oci(const struct hit *hit, struct container *container, struct error *error)
{
    bool runc = hit->keeper == KEEPER_RUNC;
    CLEANUP(free_ptr)
    char *path = text_format("%s/%s", hit->directory, runc ? "state.json" : "status");
    json_t *state = NULL;
    uint64_t start_time;
    int r = record_read(AT_FDCWD, path, path, &state, error);

    if (r < 0)
        return r == -ENOENT ? record_not_running(container, "it has just been removed", error) : r;
    r = record_pid(state, runc ? "init_process_pid" : "pid", path, &container->pid, error);
    start_time = member_time(state, runc ? "init_process_start" : "process-start-time");
    if (r == 0 && container->pid == 0)
        r = record_not_running(container, "it has no process", error);
    if (r == 0)
        r = read_spec(runc ? bundle_label(state) : record_text(state, "bundle"), container, error);
    json_decref(state);
    if (r < 0)
        return r;
    container->runtime = text_copy(runc ? "runc" : "crun");
    /* Waits there until "start" reads it. */
    container->state =
        has_file(hit->directory, "exec.fifo") ? CONTAINER_CREATED : CONTAINER_RUNNING;
    return record_check_process(container, start_time, error);
}

static int load_task(const struct hit *hit, struct container *container, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("%s/init.pid", hit->directory);
    CLEANUP(free_ptr) char *text = NULL;
    int r = file_read(AT_FDCWD, path, PID_TEXT_MAXIMUM, &text, NULL);

    if (r == -ENOENT)
        return record_not_running(container, "it has just been removed", error);
    if (r < 0 || text_to_int(text, &container->pid) < 0 || container->pid <= 0)
        return record_error(error, "%s has no process id", path);
    container->runtime = text_copy("containerd");
    container->state = CONTAINER_RUNNING;
    r = read_spec(hit->directory, container, error);
    return r < 0 ? r : record_check_process(container, 0, error);
}

static void fill_annotations(struct container *container)
{
    json_t *annotations = json_object_get(container->spec, "annotations");
    const char *image = record_text(annotations, "io.kubernetes.cri-o.ImageRef");
    const char *digest = image ? strstr(image, "sha256:") : NULL;

    container->annotations = json_is_object(annotations) ? json_incref(annotations) : json_object();
    container->labels = json_object();
    container->pod_addresses = allocate(sizeof *container->pod_addresses);
    container->image_digest = record_clean(digest);
    record_fill_names(container);
}

static int load(const struct hit *hit, struct container *ret, struct error *error)
{
    CLEANUP(container_done) struct container container = CONTAINER_INIT;
    int r;

    container.id = text_copy(hit->id);
    r = hit->keeper == KEEPER_CONTAINERD ? load_task(hit, &container, error)
                                         : load_oci(hit, &container, error);
    if (r < 0)
        return r;
    fill_annotations(&container);
    container_move(ret, &container);
    return 0;
}

/* All hits are of one id. containerd and the OCI runtime below it both know a container, then the
 * process is the same; several runtimes or namespaces can have the same id for different ones. */
static int load_one(const struct hits *hits, const char *text, struct container *ret,
                    struct error *error)
{
    CLEANUP(container_done) struct container found = CONTAINER_INIT;
    CLEANUP(error_done) struct error first = ERROR_INIT;
    int result = 0;

    for (size_t i = 0; i < hits->count; i++) {
        CLEANUP(container_done) struct container container = CONTAINER_INIT;
        CLEANUP(error_done) struct error own = ERROR_INIT;
        int r = load(&hits->hits[i], &container, &own);

        if (r < 0 && result == 0) {
            error_move(&first, &own);
            result = r;
        }
        if (r < 0)
            continue;
        if (found.id && found.pid != container.pid)
            return ambiguous(hits, text, error);
        if (!found.id)
            container_move(&found, &container);
    }
    if (!found.id) {
        error_move(error, &first);
        return result;
    }
    container_move(ret, &found);
    return 0;
}

int state_find(const char *text, const char *state_directory, struct container *ret,
               struct buffer *looked, struct error *error)
{
    CLEANUP(hits_done) struct hits hits = {0};

    if (state_directory && record_is_id(text))
        search_named(state_directory, text, &hits, looked);
    for (size_t i = 0; record_is_id(text) && i < sizeof usual_roots / sizeof *usual_roots; i++) {
        if (search_root(&usual_roots[i], text, &hits))
            looked_add(looked, "%s", usual_roots[i].path);
    }
    if (hits.count == 0)
        return looked_in_vain(looked, text, error);
    keep_whole_ids(&hits, text);
    for (size_t i = 1; i < hits.count; i++) {
        if (!text_equal(hits.hits[i].id, hits.hits[0].id))
            return ambiguous(&hits, text, error);
    }
    return load_one(&hits, text, ret, error);
}

int container_find_by_state(const char *text, const char *state_directory, struct container *ret,
                            struct error *error)
{
    CLEANUP(buffer_done) struct buffer looked = LOOKED_INIT;

    return state_find(text, state_directory, ret, &looked, error);
}
