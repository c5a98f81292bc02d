/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: find-container [--endpoint SOCKET] [--state-directory DIR] TEXT
 *        find-container --files [--state-directory DIR] TEXT
 *        find-container --cri [--endpoint SOCKET] [--timeout MSEC]
 *
 * Prints what src/container finds, a JSON object a line; errors are objects, too. With --cri one
 * connection serves commands from standard input: "version", "list", "find TEXT", "events MSEC
 * COUNT", "nested MSEC COUNT" (asks for each container within its event).
 */
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "container/oci-spec.h"
#include "container/runtime.h"

DEFINE_CLEANUP(free_runtime, struct runtime *, runtime_free)

static void print(json_t *object)
{
    char *text = json_dumps(object, JSON_SORT_KEYS);

    (void)printf("%s\n", text);
    (void)fflush(stdout);
    free(text);
    json_decref(object);
}

static int print_error(struct error *error)
{
    print(json_pack("{s:s?, s:s?, s:i}", "code", error->code, "error", error->message, "number",
                    error->number));
    error_done(error);
    return 1;
}

static json_t *describe_spec(json_t *document)
{
    CLEANUP(oci_spec_done) struct oci_spec spec = OCI_SPEC_INIT;
    struct error error = ERROR_INIT;
    const struct oci_namespace *pid;
    json_t *summary;

    if (!document)
        return json_null();
    if (oci_spec_read(document, &spec, &error) < 0) {
        summary = json_pack("{s:s, s:s}", "code", error.code, "error", error.message);
        error_done(&error);
        return summary;
    }
    pid = oci_spec_namespace(&spec, "pid");
    return json_pack("{s:s?, s:s, s:b, s:I, s:I, s:b, s:s?, s:s?, s:s?, s:b}", "hostname",
                     spec.hostname, "root", spec.root_path, "readonly", spec.root_readonly,
                     "mounts", (json_int_t)spec.mount_count, "namespaces",
                     (json_int_t)spec.namespace_count, "own_pids", pid && !pid->path, "cgroup",
                     spec.cgroups_path, "directory", spec.directory, "PATH",
                     oci_spec_variable(&spec, "PATH"), "seccomp", spec.seccomp);
}

static json_t *describe(const struct container *container)
{
    json_t *addresses = json_array();

    for (size_t i = 0; container->pod_addresses && container->pod_addresses[i]; i++)
        (void)json_array_append_new(addresses, json_string(container->pod_addresses[i]));
    return json_pack(
        "{s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s, s:s?, s:s, s:i, s:I, s:O, s:O, s:o, "
        "s:o}",
        "id", container->id, "name", container->name, "image", container->image, "digest",
        container->image_digest, "pod", container->pod_name, "namespace", container->pod_namespace,
        "uid", container->pod_uid, "sandbox", container->sandbox_id, "runtime", container->runtime,
        "bundle", container->bundle, "state", container_state_name(container->state), "pid",
        (int)container->pid, "start_time", (json_int_t)container->start_time, "labels",
        container->labels, "annotations", container->annotations, "addresses", addresses, "spec",
        describe_spec(container->spec));
}

static int print_found(int result, struct container *container, struct error *error)
{
    if (result < 0)
        return print_error(error);
    print(describe(container));
    container_done(container);
    return 0;
}

static int print_list(struct runtime *runtime)
{
    CLEANUP(container_list_done) struct container_list list = CONTAINER_LIST_INIT;
    struct error error = ERROR_INIT;
    json_t *array = json_array();

    if (runtime_list(runtime, &list, &error) < 0) {
        json_decref(array);
        return print_error(&error);
    }
    for (size_t i = 0; i < list.count; i++)
        (void)json_array_append_new(array, describe(&list.containers[i]));
    print(json_pack("{s:o}", "list", array));
    return 0;
}

struct watch {
    struct runtime *runtime;
    int left;
    bool nested;
};

static int print_event(const struct container_event *event, void *context, struct error *error)
{
    struct watch *watch = context;

    (void)error;
    print(json_pack("{s:i, s:s}", "event", (int)event->type, "id", event->id));
    if (watch->nested) {
        struct container container = CONTAINER_INIT;
        struct error own = ERROR_INIT;
        int r = runtime_find(watch->runtime, event->id, &container, &own);

        (void)print_found(r, &container, &own);
    }
    return --watch->left <= 0;
}

static void watch_events(struct runtime *runtime, const char *arguments, bool nested)
{
    struct watch watch = {.runtime = runtime, .nested = nested};
    struct error error = ERROR_INIT;
    char *end;
    unsigned msec = (unsigned)strtoul(arguments, &end, 10);

    watch.left = (int)strtol(end, NULL, 10);
    if (runtime_events(runtime, msec, print_event, &watch, &error) < 0)
        (void)print_error(&error);
    else
        print(json_pack("{s:i}", "left", watch.left));
}

static void serve(struct runtime *runtime, const char *line)
{
    struct container container = CONTAINER_INIT;
    struct error error = ERROR_INIT;

    if (text_starts_with(line, "find "))
        (void)print_found(runtime_find(runtime, line + 5, &container, &error), &container, &error);
    else if (text_equal(line, "list"))
        (void)print_list(runtime);
    else if (text_starts_with(line, "events "))
        watch_events(runtime, line + 7, false);
    else if (text_starts_with(line, "nested "))
        watch_events(runtime, line + 7, true);
    else
        print(json_pack("{s:s, s:s}", "version", runtime_version(runtime), "socket",
                        runtime_socket(runtime)));
}

static int serve_all(const char *endpoint, unsigned timeout)
{
    CLEANUP(free_runtime) struct runtime *runtime = NULL;
    struct error error = ERROR_INIT;
    char line[4096];

    if (runtime_open(endpoint, timeout, &runtime, &error) < 0)
        return print_error(&error);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        serve(runtime, line);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"endpoint", required_argument, NULL, 'e'},
                                            {"state-directory", required_argument, NULL, 's'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"cri", no_argument, NULL, 'c'},
                                            {"files", no_argument, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    const char *endpoint = NULL, *state = NULL;
    struct container container = CONTAINER_INIT;
    struct error error = ERROR_INIT;
    unsigned timeout = RUNTIME_TIMEOUT_MSEC;
    bool cri = false, files = false;
    int option, r;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'e':
            endpoint = optarg;
            break;
        case 's':
            state = optarg;
            break;
        case 't':
            timeout = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            cri = true;
            break;
        case 'f':
            files = true;
            break;
        default:
            return 2;
        }
    }
    if (cri)
        return serve_all(endpoint, timeout);
    if (optind >= argc)
        return 2;
    r = files ? container_find_by_state(argv[optind], state, &container, &error)
              : container_find(endpoint, state, argv[optind], &container, &error);
    return print_found(r, &container, &error);
}
