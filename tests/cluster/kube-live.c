/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: kube-live KUBECONFIG follow PATH SECONDS [PAGE-SIZE]
 *        kube-live KUBECONFIG get PATH
 *        kube-live KUBECONFIG annotate NAMESPACE POD KEY VALUE
 *        kube-live KUBECONFIG event NAMESPACE POD COUNT
 *        kube-live KUBECONFIG lease NAMESPACE NAME HOLDER SECONDS
 *
 * The client against a real API server, for tests that restart it, let tokens end and compact its
 * history. Prints a line for whatever happens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "kube/events.h"
#include "kube/lease.h"
#include "kube/object.h"
#include "kube/reflector.h"
#include "kube/update.h"

struct live {
    struct loop *loop;
    struct kube_client *client;
    struct kube_reflector *reflector;
};

static int complain(const struct error *error)
{
    (void)fprintf(stderr, "%s: %s\n", error->code, error->message);
    return 1;
}

static void stop(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct live *live = context;

    (void)source;
    (void)now_usec;
    loop_stop(live->loop, 0);
}

static void run_for(struct live *live, const char *seconds)
{
    loop_add_timer(live->loop, loop_now(live->loop) + strtoul(seconds, NULL, 10) * 1000000, stop,
                   live, NULL);
    (void)loop_run(live->loop);
}

static void notice(const struct kube_notice *notice, void *context)
{
    static const char *const words[] = {"added", "modified", "deleted"};

    (void)context;
    (void)printf("%s %s/%s %s\n", words[notice->change], notice->namespace, notice->name,
                 kube_resource_version(notice->object));
}

static void synced(void *context)
{
    struct live *live = context;

    (void)printf("synced %zu\n", live->reflector ? kube_reflector_count(live->reflector) : 0);
}

static void trouble(const struct error *error, unsigned retry_msec, void *context)
{
    (void)context;
    (void)printf("trouble %s, again in %u ms: %s\n", error->code, retry_msec, error->message);
}

static void print_memory(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[128];

    while (file && fgets(line, sizeof line, file)) {
        if (text_starts_with(line, "VmRSS") || text_starts_with(line, "VmHWM") ||
            text_starts_with(line, "Threads"))
            (void)printf("%s", line);
    }
    if (file)
        (void)fclose(file);
}

static int follow(struct live *live, char **arguments, int count)
{
    struct kube_reflector_options options = {.path = arguments[0],
                                             .notice = notice,
                                             .synced = synced,
                                             .trouble = trouble,
                                             .context = live};
    struct kube_reflector_counts counts;

    if (count > 2)
        options.page_size = (unsigned)strtoul(arguments[2], NULL, 10);
    live->reflector = kube_reflector_new(live->client, &options);
    run_for(live, arguments[1]);
    counts = kube_reflector_counts(live->reflector);
    (void)printf("counts lists %lu pages %lu watches %lu events %lu troubles %lu\n",
                 (unsigned long)counts.lists, (unsigned long)counts.pages,
                 (unsigned long)counts.watches, (unsigned long)counts.events,
                 (unsigned long)counts.troubles);
    print_memory();
    kube_reflector_free(live->reflector);
    return 0;
}

static int get(struct live *live, char **arguments)
{
    const struct kube_request request = {.path = arguments[0]};
    struct error error = ERROR_INIT;
    json_t *body = NULL;
    char *text;

    if (kube_call(live->client, &request, &body, &error) < 0) {
        int r = complain(&error);

        error_done(&error);
        return r;
    }
    text = json_dumps(body, JSON_INDENT(1));
    (void)printf("%s\n", text ? text : "nothing");
    free(text);
    json_decref(body);
    return 0;
}

static int set_annotation(json_t *object, void *context, struct error *error)
{
    char **arguments = context;
    json_t *metadata = kube_get(object, "metadata");
    json_t *all = json_object_get(metadata, "annotations");

    (void)error;
    if (text_equal(kube_annotation(object, arguments[2]), arguments[3]))
        return 0;
    if (!all) {
        all = json_object();
        (void)json_object_set_new(metadata, "annotations", all);
    }
    (void)json_object_set_new(all, arguments[2], json_string(arguments[3]));
    return 1;
}

static int annotate(struct live *live, char **arguments)
{
    const struct kube_update_options options = {
        .reference = {.resource = &kube_pods, .namespace = arguments[0], .name = arguments[1]},
        .modify = set_annotation,
        .context = arguments};
    struct error error = ERROR_INIT;
    json_t *object = NULL;
    int r = 0;

    if (kube_update_call(live->client, &options, &object, &error) < 0)
        r = complain(&error);
    else
        (void)printf("version %s\n", kube_resource_version(object));
    error_done(&error);
    json_decref(object);
    return r;
}

static int event(struct live *live, char **arguments)
{
    struct kube_recorder *recorder = kube_recorder_new(live->client, "kube-live", "here");
    const struct kube_involved involved = {.api_version = "v1",
                                           .kind = "Pod",
                                           .namespace = arguments[0],
                                           .name = arguments[1],
                                           .uid = "1-2-3"};
    struct kube_recorder_counts counts;

    for (unsigned long i = strtoul(arguments[2], NULL, 10); i > 0; i--) {
        kube_event(recorder, &involved, KUBE_EVENT_WARNING, "Tried", "it was tried");
        run_for(live, "1");
    }
    counts = kube_recorder_counts(recorder);
    (void)printf("written %lu counted-up %lu dropped %lu failed %lu\n",
                 (unsigned long)counts.written, (unsigned long)counts.counted_up,
                 (unsigned long)counts.dropped, (unsigned long)counts.failed);
    kube_recorder_free(recorder);
    return 0;
}

static void acquired(void *context)
{
    (void)context;
    (void)printf("acquired\n");
}

static void lost(const struct error *error, void *context)
{
    (void)context;
    (void)printf("lost %s: %s\n", error->code, error->message);
}

static void released(void *context)
{
    struct live *live = context;

    (void)printf("released\n");
    loop_stop(live->loop, 0);
}

static int hold(struct live *live, char **arguments)
{
    const struct kube_lease_options options = {.namespace = arguments[0],
                                               .name = arguments[1],
                                               .holder = arguments[2],
                                               .acquired = acquired,
                                               .lost = lost,
                                               .context = live};
    struct kube_lease *lease = kube_lease_new(live->client, &options);

    run_for(live, arguments[3]);
    kube_lease_release(lease, released);
    (void)loop_run(live->loop);
    kube_lease_free(lease);
    return 0;
}

static int act(struct live *live, int count, char **arguments)
{
    const char *what = arguments[0];

    if (text_equal(what, "follow") && count >= 3)
        return follow(live, arguments + 1, count - 1);
    if (text_equal(what, "get") && count == 2)
        return get(live, arguments + 1);
    if (text_equal(what, "annotate") && count == 5)
        return annotate(live, arguments + 1);
    if (text_equal(what, "event") && count == 4)
        return event(live, arguments + 1);
    if (text_equal(what, "lease") && count == 5)
        return hold(live, arguments + 1);
    return 2;
}

int main(int count, char **arguments)
{
    struct live live = {0};
    struct kube_config *config;
    struct error error = ERROR_INIT;
    int r;

    if (count < 3)
        return 2;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (kube_config_from_file(arguments[1], NULL, &config, &error) < 0 ||
        loop_new(NULL, &live.loop, &error) < 0 ||
        kube_client_new(live.loop, config, &live.client, &error) < 0)
        return complain(&error);
    r = act(&live, count - 2, arguments + 2);
    kube_client_free(live.client);
    loop_free(live.loop);
    return r;
}
