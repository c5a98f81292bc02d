/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers by CRI, version v1 (proto/cri.proto). What a container's process and spec are is not
 * part of that interface; both runtimes tell it as JSON in the verbose status, under the key "info"
 * (containerd: internal/cri/server/container_status.go; CRI-O: server/container_status.go).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "container/look.h"
#include "container/record.h"
#include "container/runtime.h"
#include "cri.pb-c.h"
#include "http/grpc.h"
#include "http/printable.h"

/* Far more than a machine can run; choosing compares each container with each pod. */
enum { LIST_MAXIMUM = 8192, ADDRESSES_MAXIMUM = 64, LABEL_MAXIMUM = 256 << 10 };

struct runtime {
    struct grpc *grpc;
    char *socket, *version;
    unsigned timeout_msec;
};

DEFINE_CLEANUP(free_runtime, struct runtime *, runtime_free)

static void free_answer(void *answer)
{
    ProtobufCMessage *message = *(ProtobufCMessage **)answer;

    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

static int ask(struct runtime *runtime, const char *method, const ProtobufCMessage *request,
               void *ret_answer, struct error *error)
{
    const struct grpc_call call = {
        .service = &runtime__v1__runtime_service__descriptor,
        .method = method,
        .request = request,
        .timeout_msec = runtime->timeout_msec,
    };

    return grpc_unary(runtime->grpc, &call, ret_answer, error);
}

static int read_version(struct runtime *runtime, struct error *error)
{
    CLEANUP(free_answer) Runtime__V1__VersionResponse *answer = NULL;
    Runtime__V1__VersionRequest request = RUNTIME__V1__VERSION_REQUEST__INIT;
    CLEANUP(free_ptr) char *name = NULL;
    CLEANUP(free_ptr) char *version = NULL;
    const char *number;
    int r = ask(runtime, "Version", &request.base, &answer, error);

    if (r < 0)
        return r;
    name = record_clean(answer->runtime_name);
    version = record_clean(answer->runtime_version);
    number = version ? version : "of unknown version";
    if (number[0] == 'v' && number[1] >= '0' && number[1] <= '9')
        number++;
    runtime->version = text_format("%s %s", name ? name : "runtime", number);
    return 0;
}

static int open_one(const char *path, unsigned timeout_msec, struct runtime **ret,
                    struct error *error)
{
    CLEANUP(free_runtime) struct runtime *runtime = allocate(sizeof *runtime);
    int r;

    runtime->timeout_msec = timeout_msec;
    runtime->socket = text_copy(path);
    r = grpc_open(path, &runtime->grpc, error);
    if (r == 0)
        r = read_version(runtime, error);
    if (r < 0)
        return r;
    *ret = STEAL_PTR(runtime);
    return 0;
}

static const char *endpoint_path(const char *endpoint)
{
    return text_starts_with(endpoint, "unix://") ? endpoint + strlen("unix://") : endpoint;
}

char **runtime_sockets(void)
{
    static const char *const usual[] = {
        "/run/containerd/containerd.sock",
        "/run/crio/crio.sock",
        "/run/k3s/containerd/containerd.sock",
    };
    const size_t usual_count = sizeof usual / sizeof *usual;
    const char *chosen = getenv("CONTAINER_RUNTIME_ENDPOINT");
    char **sockets = allocate((usual_count + 1) * sizeof *sockets);
    size_t count = 0;

    if (chosen && *chosen) {
        sockets[0] = text_copy(endpoint_path(chosen));
        return sockets;
    }
    for (size_t i = 0; i < usual_count; i++) {
        struct stat status;

        if (stat(usual[i], &status) == 0 && S_ISSOCK(status.st_mode))
            sockets[count++] = text_copy(usual[i]);
    }
    return sockets;
}

void free_sockets(char ***sockets)
{
    for (size_t i = 0; *sockets && (*sockets)[i]; i++)
        free((*sockets)[i]);
    free(*sockets);
}

int runtime_open(const char *endpoint, unsigned timeout_msec, struct runtime **ret,
                 struct error *error)
{
    CLEANUP(free_sockets) char **sockets = NULL;
    CLEANUP(error_done) struct error first = ERROR_INIT;
    int result = 0;

    if (endpoint)
        return open_one(endpoint_path(endpoint), timeout_msec, ret, error);
    sockets = runtime_sockets();
    for (size_t i = 0; sockets[i]; i++) {
        struct error own = ERROR_INIT;
        int r = open_one(sockets[i], timeout_msec, ret, &own);

        if (r == 0)
            return 0;
        if (result == 0)
            error_move(&first, &own);
        error_done(&own);
        result = result ? result : r;
    }
    if (!sockets[0]) {
        (void)error_set(error, "runtime-missing", 0,
                        "There is no socket of a container runtime here (containerd, CRI-O, k3s)");
        return -ENOENT;
    }
    error_move(error, &first);
    return result;
}

void runtime_free(struct runtime *runtime)
{
    if (!runtime)
        return;
    grpc_free(runtime->grpc);
    free(runtime->socket);
    free(runtime->version);
    free(runtime);
}

const char *runtime_version(const struct runtime *runtime)
{
    return runtime->version;
}

const char *runtime_socket(const struct runtime *runtime)
{
    return runtime->socket;
}

static int wrong_answer(const struct runtime *runtime, const char *what, struct error *error)
{
    return record_error(error, "What %s (%s) tells can't be used: %s", runtime->socket,
                        runtime->version, what);
}

static enum container_state read_state(Runtime__V1__ContainerState state)
{
    switch (state) {
    case RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED:
        return CONTAINER_CREATED;
    case RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING:
        return CONTAINER_RUNNING;
    case RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED:
        return CONTAINER_EXITED;
    default:
        return CONTAINER_UNKNOWN;
    }
}

/* The entries of a map on the wire are messages of a key and a value. */
struct map_entry {
    ProtobufCMessage base;
    char *key, *value;
};

static_assert(sizeof(struct map_entry) == sizeof(Runtime__V1__Container__LabelsEntry) &&
                  offsetof(struct map_entry, value) ==
                      offsetof(Runtime__V1__ContainerStatus__AnnotationsEntry, value),
              "all map<string, string> are decoded alike");

static json_t *read_map(const void *entries, size_t count)
{
    const struct map_entry *const *map = entries;
    json_t *object = json_object();

    for (size_t i = 0; i < count; i++) {
        CLEANUP(free_ptr)
        char *key = printable_copy(map[i]->key, strlen(map[i]->key), LABEL_MAXIMUM);
        CLEANUP(free_ptr)
        char *value = printable_copy(map[i]->value, strlen(map[i]->value), LABEL_MAXIMUM);

        (void)json_object_set_new(object, key, json_string(value));
    }
    return object;
}

static char *read_image(const Runtime__V1__ImageSpec *image)
{
    return record_clean(image ? image->image : NULL);
}

/* "registry/name@sha256:…" or "sha256:…". */
static char *read_digest(const char *reference)
{
    const char *digest = strstr(reference, "sha256:");

    return digest && (digest == reference || digest[-1] == '@') ? record_clean(digest) : NULL;
}

static int read_brief(const struct runtime *runtime, const Runtime__V1__Container *from,
                      struct container *to, struct error *error)
{
    if (!record_is_id(from->id))
        return wrong_answer(runtime, "the id of a container", error);
    to->id = text_copy(from->id);
    to->name = record_clean(from->metadata ? from->metadata->name : NULL);
    to->image = read_image(from->image);
    to->image_digest = read_digest(from->image_ref);
    to->sandbox_id = record_clean(from->pod_sandbox_id);
    to->runtime = text_copy(runtime->version);
    to->state = read_state(from->state);
    to->labels = read_map(from->labels, from->n_labels);
    to->annotations = read_map(from->annotations, from->n_annotations);
    to->pod_addresses = allocate(sizeof *to->pod_addresses);
    return 0;
}

static void fill_pod(struct container *container, const Runtime__V1__PodSandboxMetadata *pod)
{
    free(container->pod_name);
    free(container->pod_namespace);
    free(container->pod_uid);
    container->pod_name = record_clean(pod->name);
    container->pod_namespace = record_clean(pod->namespace_);
    container->pod_uid = record_clean(pod->uid);
}

static void join_pods(struct container_list *list, const Runtime__V1__ListPodSandboxResponse *pods)
{
    for (size_t i = 0; i < list->count; i++) {
        struct container *container = &list->containers[i];

        record_fill_names(container);
        for (size_t j = 0; j < pods->n_items; j++) {
            if (pods->items[j]->metadata && text_equal(pods->items[j]->id, container->sandbox_id)) {
                fill_pod(container, pods->items[j]->metadata);
                break;
            }
        }
    }
}

int runtime_list(struct runtime *runtime, struct container_list *ret, struct error *error)
{
    CLEANUP(free_answer) Runtime__V1__ListContainersResponse *answer = NULL;
    CLEANUP(free_answer) Runtime__V1__ListPodSandboxResponse *pods = NULL;
    CLEANUP(container_list_done) struct container_list list = CONTAINER_LIST_INIT;
    Runtime__V1__ListContainersRequest request = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    Runtime__V1__ListPodSandboxRequest pod_request = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    int r = ask(runtime, "ListContainers", &request.base, &answer, error);

    if (r == 0)
        r = ask(runtime, "ListPodSandbox", &pod_request.base, &pods, error);
    if (r < 0)
        return r;
    if (answer->n_containers > LIST_MAXIMUM || pods->n_items > LIST_MAXIMUM)
        return wrong_answer(runtime, "it has too many containers", error);
    list.containers = allocate(answer->n_containers * sizeof *list.containers);
    for (size_t i = 0; r == 0 && i < answer->n_containers; i++) {
        list.containers[i] = CONTAINER_INIT;
        list.count++;
        r = read_brief(runtime, answer->containers[i], &list.containers[i], error);
    }
    if (r < 0)
        return r;
    join_pods(&list, pods);
    *ret = list;
    list = CONTAINER_LIST_INIT;
    return 0;
}

/* The JSON that only a verbose status has. */
static int read_info(const struct runtime *runtime,
                     const Runtime__V1__ContainerStatusResponse *answer,
                     struct container *container, struct error *error)
{
    CLEANUP(free_ptr) char *what = text_format("The verbose status of %s", container->id);
    const char *text = NULL, *sandbox;
    json_t *info = NULL, *spec;
    int r;

    for (size_t i = 0; i < answer->n_info; i++) {
        if (text_equal(answer->info[i]->key, "info"))
            text = answer->info[i]->value;
    }
    if (!text)
        return wrong_answer(runtime, "the verbose status has no \"info\"", error);
    r = record_parse(text, strlen(text), what, &info, error);
    if (r < 0)
        return r;
    spec = json_object_get(info, "runtimeSpec");
    sandbox = record_text(info, "sandboxID");
    r = record_pid(info, "pid", what, &container->pid, error);
    if (r == 0 && !json_is_object(spec))
        r = record_error(error, "%s has no runtimeSpec", what);
    if (r == 0)
        container->spec = json_incref(spec);
    if (sandbox && record_is_id(sandbox))
        container->sandbox_id = text_copy(sandbox);
    json_decref(info);
    return r;
}

static int get_status(struct runtime *runtime, const char *id, bool verbose,
                      Runtime__V1__ContainerStatusResponse **ret, struct error *error)
{
    CLEANUP(free_answer) Runtime__V1__ContainerStatusResponse *answer = NULL;
    Runtime__V1__ContainerStatusRequest request = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
    CLEANUP(free_ptr) char *copy = text_copy(id);
    int r;

    request.container_id = copy;
    request.verbose = verbose;
    r = ask(runtime, "ContainerStatus", &request.base, &answer, error);
    if (r < 0)
        return r;
    if (!answer->status || !text_equal(answer->status->id, id))
        return wrong_answer(runtime, "the status is of another container", error);
    *ret = STEAL_PTR(answer);
    return 0;
}

static void fill_status(const struct runtime *runtime, const Runtime__V1__ContainerStatus *from,
                        struct container *to)
{
    to->id = text_copy(from->id);
    to->name = record_clean(from->metadata ? from->metadata->name : NULL);
    to->image = read_image(from->image);
    to->image_digest = read_digest(from->image_ref);
    if (!to->image_digest)
        to->image_digest = read_digest(from->image_id);
    to->runtime = text_copy(runtime->version);
    to->state = read_state(from->state);
    to->labels = read_map(from->labels, from->n_labels);
    to->annotations = read_map(from->annotations, from->n_annotations);
}

static int check_runs(const struct container *container, const Runtime__V1__ContainerStatus *status,
                      struct error *error)
{
    CLEANUP(free_ptr) char *reason = record_clean(status->reason);
    CLEANUP(free_ptr) char *why = NULL;

    if (container->state == CONTAINER_RUNNING)
        return 0;
    if (container->state == CONTAINER_CREATED)
        return record_not_running(container, "it was created but not started", error);
    why = text_format("it has ended with exit code %" PRId32 "%s%s", status->exit_code,
                      reason ? ": " : "", reason ? reason : "");
    return record_not_running(container, why, error);
}

/* A runtime keeps the process id of an ended process from being used again until it has noticed the
 * end. So when it runs the same container before and after the process was looked at, the process
 * was that of the container. */
static int check_still_runs(struct runtime *runtime, const struct container *container,
                            int64_t started_at, struct error *error)
{
    CLEANUP(free_answer) Runtime__V1__ContainerStatusResponse *answer = NULL;
    int r = get_status(runtime, container->id, false, &answer, error);

    if (r < 0)
        return r;
    if (read_state(answer->status->state) != CONTAINER_RUNNING ||
        answer->status->started_at != started_at)
        return record_not_running(container, "it has just ended", error);
    return 0;
}

static int add_address(const struct runtime *runtime, const char *text, char **addresses,
                       size_t *count, struct error *error)
{
    unsigned char binary[sizeof(struct in6_addr)];

    if (!*text)
        return 0;
    if (*count >= ADDRESSES_MAXIMUM ||
        (inet_pton(AF_INET, text, binary) != 1 && inet_pton(AF_INET6, text, binary) != 1))
        return wrong_answer(runtime, "the address of a pod", error);
    addresses[(*count)++] = text_copy(text);
    return 0;
}

static int read_addresses(const struct runtime *runtime,
                          const Runtime__V1__PodSandboxNetworkStatus *network,
                          struct container *container, struct error *error)
{
    size_t count = 0;
    int r;

    if (!network)
        return 0;
    r = add_address(runtime, network->ip, container->pod_addresses, &count, error);
    for (size_t i = 0; r == 0 && i < network->n_additional_ips; i++)
        r = add_address(runtime, network->additional_ips[i]->ip, container->pod_addresses, &count,
                        error);
    return r;
}

static int read_pod(struct runtime *runtime, struct container *container, struct error *error)
{
    CLEANUP(free_answer) Runtime__V1__PodSandboxStatusResponse *answer = NULL;
    Runtime__V1__PodSandboxStatusRequest request = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;
    int r;

    container->pod_addresses = allocate((ADDRESSES_MAXIMUM + 1) * sizeof *container->pod_addresses);
    record_fill_names(container);
    if (!container->sandbox_id)
        return 0;
    request.pod_sandbox_id = container->sandbox_id;
    r = ask(runtime, "PodSandboxStatus", &request.base, &answer, error);
    if (r < 0)
        return error_wrap(error, r, "Container %s", container->id);
    if (!answer->status)
        return wrong_answer(runtime, "the status of a pod is empty", error);
    if (answer->status->metadata)
        fill_pod(container, answer->status->metadata);
    return read_addresses(runtime, answer->status->network, container, error);
}

static int read_container(struct runtime *runtime, const char *id, struct container *ret,
                          struct error *error)
{
    CLEANUP(container_done) struct container container = CONTAINER_INIT;
    CLEANUP(free_answer) Runtime__V1__ContainerStatusResponse *answer = NULL;
    int r = get_status(runtime, id, true, &answer, error);

    if (r < 0)
        return r;
    fill_status(runtime, answer->status, &container);
    r = check_runs(&container, answer->status, error);
    if (r == 0)
        r = read_info(runtime, answer, &container, error);
    if (r == 0)
        r = record_check_process(&container, 0, error);
    if (r == 0)
        r = check_still_runs(runtime, &container, answer->status->started_at, error);
    if (r == 0)
        r = read_pod(runtime, &container, error);
    if (r < 0)
        return r;
    container_move(ret, &container);
    return 0;
}

int runtime_find(struct runtime *runtime, const char *text, struct container *ret,
                 struct error *error)
{
    CLEANUP(container_list_done) struct container_list list = CONTAINER_LIST_INIT;
    size_t index = 0;
    int r = runtime_list(runtime, &list, error);

    if (r == 0)
        r = container_choose(&list, text, runtime->socket, &index, error);
    return r < 0 ? r : read_container(runtime, list.containers[index].id, ret, error);
}

struct listener {
    const struct runtime *runtime;
    container_event_function *handle;
    void *context;
};

static int hand_event(const ProtobufCMessage *answer, void *context, struct error *error)
{
    const Runtime__V1__ContainerEventResponse *event = (const void *)answer;
    const struct listener *listener = context;
    struct container_event own = {.id = event->container_id, .nanoseconds = event->created_at};

    if (!record_is_id(event->container_id))
        return wrong_answer(listener->runtime, "the id in an event", error);
    switch (event->container_event_type) {
    case RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_CREATED_EVENT:
        own.type = CONTAINER_EVENT_CREATED;
        break;
    case RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STARTED_EVENT:
        own.type = CONTAINER_EVENT_STARTED;
        break;
    case RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STOPPED_EVENT:
        own.type = CONTAINER_EVENT_STOPPED;
        break;
    case RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT:
        own.type = CONTAINER_EVENT_DELETED;
        break;
    default:
        return 0; /* of a newer interface */
    }
    return listener->handle(&own, listener->context, error);
}

int runtime_events(struct runtime *runtime, unsigned timeout_msec, container_event_function *handle,
                   void *context, struct error *error)
{
    Runtime__V1__GetEventsRequest request = RUNTIME__V1__GET_EVENTS_REQUEST__INIT;
    const struct grpc_call call = {
        .service = &runtime__v1__runtime_service__descriptor,
        .method = "GetContainerEvents",
        .request = &request.base,
        .timeout_msec = timeout_msec,
    };
    struct listener listener = {runtime, handle, context};
    CLEANUP(error_done) struct error own = ERROR_INIT;
    int r = grpc_stream(runtime->grpc, &call, hand_event, &listener, &own);

    if (r == -ETIMEDOUT && error_is(&own, "grpc-timeout"))
        return 0;
    if (r < 0)
        error_move(error, &own);
    return r;
}
