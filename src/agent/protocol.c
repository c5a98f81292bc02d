/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/protocol.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/order.h"
#include "agent/words.h"
#include "basic/text.h"
#include "image/layout.h"

const char *protocol_name(enum protocol protocol)
{
    static const char *const names[] = {"standalone", "chrek", "signals", "control"};

    return names[protocol];
}

static bool is_set(const struct pod *pod, const char *label)
{
    return text_equal(pod_label(pod, label), "true");
}

/* The first label of a list that the pod has, with a value. */
static const char *first_label(const struct pod *pod, const char *const *labels)
{
    for (; *labels; labels++) {
        const char *value = pod_label(pod, *labels);

        if (value && *value)
            return value;
    }
    return NULL;
}

static const char *control_of(const struct pod_container *container)
{
    const char *directory = container_variable(container, VARIABLE_CONTROL);

    if (!directory)
        directory = container_variable(container, VARIABLE_CONTROL_OLD);
    if (!directory && container_mount(container, CONTROL_DIRECTORY))
        directory = CONTROL_DIRECTORY;
    return directory && *directory ? directory : NULL;
}

/* What is written into a container lies in a volume of its pod, so that nothing of the image or of
 * another container is ever touched. */
static int check_control(const struct pod *pod, const struct wish *wish, struct error *error)
{
    const struct pod_container *container = pod_container(pod, wish->container);
    const struct pod_volume *volume;

    if (!wish->control)
        return 0;
    volume = pod_volume_at(pod, container, wish->control);
    if (!volume || volume->kind != POD_VOLUME_EMPTY)
        return error_set(error, "pod-control", 0,
                         "Container '%s' names the control directory '%s', and no emptyDir volume "
                         "is mounted there",
                         wish->container, wish->control);
    if (container_mount(container, wish->control)->read_only)
        return error_set(error, "pod-control", 0,
                         "Container '%s' has its control directory '%s' mounted read-only",
                         wish->container, wish->control);
    return 0;
}

static int check_storage(const struct pod *pod, const struct protocol_rules *rules,
                         struct wish *wish, struct error *error)
{
    const struct pod_container *container = pod_container(pod, wish->container);
    const char *type = container_variable(container, VARIABLE_STORAGE);
    const char *path = pod_annotation(pod, ANNOTATION_STORAGE_PATH);
    const struct pod_volume *volume;

    type = type ? type : pod_annotation(pod, ANNOTATION_STORAGE_TYPE);
    if (type && *type && !text_equal(type, "pvc"))
        return error_set(error, "pod-storage", 0,
                         "Container '%s' asks for storage of type '%s'; this agent has 'pvc' only",
                         wish->container, type);
    if (!rules->pod_mount)
        return 0;
    path = path && *path ? path : rules->base;
    volume = pod_volume_at(pod, container, path);
    if (!volume || volume->kind != POD_VOLUME_CLAIM)
        return error_set(error, "pod-storage", 0,
                         "Container '%s' mounts no persistent volume claim at '%s', where the "
                         "snapshots of its pod should be",
                         wish->container, path);
    wish->claim_path = path;
    return 0;
}

/* Where the pod believes that its snapshot will be. */
static int check_location(const struct pod *pod, const struct protocol_rules *rules,
                          const struct wish *wish, struct error *error)
{
    const struct pod_container *container = pod_container(pod, wish->container);
    const char *location = container_variable(container, VARIABLE_LOCATION);
    const char *base = wish->claim_path ? wish->claim_path : rules->base;
    size_t length = strlen(base);

    if (wish->kind != WISH_CAPTURE || !location || !*location)
        return 0;
    if (text_starts_with(location, base) && location[length] == '/' &&
        text_equal(location + length + 1, wish->id))
        return 0;
    return error_set(error, "pod-storage", 0,
                     "Container '%s' expects its snapshot at '%s' (" VARIABLE_LOCATION
                     "); it will be at '%s/%s'",
                     wish->container, location, base, wish->id);
}

static int check_id(const struct pod *pod, const struct wish *wish, struct error *error)
{
    uint64_t number;

    if (!wish->id || !*wish->id)
        return error_set(error, "pod-id", 0,
                         "Pod '%s/%s' does not say which snapshot: neither a label nor the "
                         "variable " VARIABLE_HASH " of container '%s' names it",
                         pod->namespace, pod->name, wish->container);
    if (snapshot_id_check(wish->id, NULL) < 0)
        return error_set(error, "pod-id", 0, "'%s' can't be the id of a snapshot", wish->id);
    if (wish->version && snapshot_version_parse(wish->version, &number) < 0)
        return error_set(error, "pod-version", 0,
                         "'%s' (" ANNOTATION_VERSION ") is no version of a snapshot: a number from "
                         "1 on",
                         wish->version);
    return 0;
}

/* What is not plain is taken out of the wish, so that nobody goes there. */
static int check_path(const struct wish *wish, const char *variable, const char **path,
                      struct error *error)
{
    const char *wrong = *path;

    if (!wrong || order_path_is_plain(wrong))
        return 0;
    *path = NULL;
    return error_set(error, "pod-path", 0,
                     "The variable %s of container '%s' names '%.120s', which is no absolute path "
                     "without '..'",
                     variable, wish->container, wrong);
}

static int check_paths(struct wish *wish, struct error *error)
{
    int r = check_path(wish, VARIABLE_SIGNAL_FILE, &wish->signal_file, error);

    if (check_path(wish, VARIABLE_MARKER, &wish->marker, r < 0 ? NULL : error) < 0)
        r = -EINVAL;
    if (check_path(wish, VARIABLE_CONTROL, &wish->control, r < 0 ? NULL : error) < 0)
        r = -EINVAL;
    return r;
}

static int add(const struct pod *pod, const struct protocol_rules *rules, const struct wish *wish,
               struct wishes *wishes, struct error *error)
{
    struct wish *added = &wishes->list[wishes->count++];
    int r;

    *added = *wish;
    r = check_id(pod, added, error);
    if (r < 0)
        added->id = added->version = NULL;
    if (check_paths(added, r < 0 ? NULL : error) < 0)
        r = -EINVAL;
    if (check_control(pod, added, r < 0 ? NULL : error) < 0) {
        added->control = NULL; /* what is told goes without it */
        r = -EINVAL;
    }
    if (r == 0)
        r = check_storage(pod, rules, added, error);
    if (r == 0)
        r = check_location(pod, rules, added, error);
    added->invalid = r < 0;
    return r;
}

/* The container called main, or the only one. */
static const struct pod_container *default_container(const struct pod *pod)
{
    const struct pod_container *main = pod_container(pod, "main");

    return main || pod->container_count != 1 ? main : &pod->containers[0];
}

static int no_container(const struct pod *pod, struct error *error)
{
    return error_set(error, "pod-container", 0,
                     "Pod '%s/%s' has several containers and none is called 'main': the "
                     "annotation " ANNOTATION_TARGETS " must name one",
                     pod->namespace, pod->name);
}

/* Cuts the next name off a comma-separated list, without the blanks around it. */
static char *next_name(char **cursor)
{
    char *name = strsep(cursor, ",");
    size_t length;

    if (!name)
        return NULL;
    name += strspn(name, " \t");
    length = strlen(name);
    while (length && (name[length - 1] == ' ' || name[length - 1] == '\t'))
        name[--length] = 0;
    return name;
}

static bool is_listed(const struct pod_container *const *list, size_t count,
                      const struct pod_container *container)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == container)
            return true;
    }
    return false;
}

static int parse_targets(const struct pod *pod, char *names, size_t maximum,
                         const struct pod_container **ret_list, size_t *ret_count,
                         struct error *error)
{
    char *cursor = names;
    size_t count = 0;

    for (char *name = next_name(&cursor); name; name = next_name(&cursor)) {
        const struct pod_container *container = pod_container(pod, name);

        if (!container || is_listed(ret_list, count, container))
            return error_set(error, "pod-container", 0,
                             "The annotation " ANNOTATION_TARGETS " names '%s', which %s", name,
                             container ? "is there twice" : "is no container of the pod");
        if (count == maximum)
            return error_set(error, "pod-container", 0,
                             "The annotation " ANNOTATION_TARGETS
                             " names more than %zu container%s",
                             maximum, maximum == 1 ? ", and one is saved at a time" : "s");
        ret_list[count++] = container;
    }
    *ret_count = count;
    return 0;
}

/* Which containers of the pod are meant. */
static int targets_of(const struct pod *pod, size_t maximum, const struct pod_container **ret_list,
                      size_t *ret_count, struct error *error)
{
    const char *annotation = pod_annotation(pod, ANNOTATION_TARGETS);
    char *names;
    int r;

    if (!annotation) {
        ret_list[0] = default_container(pod);
        *ret_count = 1;
        return ret_list[0] ? 0 : no_container(pod, error);
    }
    names = text_copy(annotation);
    r = parse_targets(pod, names, maximum, ret_list, ret_count, error);
    free(names);
    return r;
}

static struct wish wish_of(const struct pod *pod, enum wish_kind kind, enum protocol protocol,
                           const struct pod_container *container)
{
    static const char *const labels[] = {LABEL_ID_SNAPSHOT, LABEL_HASH_SNAPSHOT, LABEL_HASH_CHREK,
                                         LABEL_HASH_STANDALONE, NULL};
    struct wish wish = {.kind = kind, .protocol = protocol, .container = container->name};

    wish.id = first_label(pod, labels);
    if (!wish.id)
        wish.id = container_variable(container, VARIABLE_HASH);
    if (protocol == PROTOCOL_SIGNALS || protocol == PROTOCOL_CONTROL) {
        wish.version = pod_annotation(pod, ANNOTATION_VERSION);
        if (!wish.version && kind == WISH_CAPTURE)
            wish.version = "1";
    }
    if (protocol == PROTOCOL_CONTROL)
        wish.control = control_of(container);
    wish.signals = protocol == PROTOCOL_CHREK || protocol == PROTOCOL_SIGNALS;
    if (protocol == PROTOCOL_STANDALONE && kind == WISH_CAPTURE)
        wish.signal_file = container_variable(container, VARIABLE_SIGNAL_FILE);
    if (protocol == PROTOCOL_STANDALONE && kind == WISH_RESTORE) {
        wish.marker = container_variable(container, VARIABLE_MARKER);
        wish.marker = wish.marker && *wish.marker ? wish.marker : MARKER_DEFAULT;
    }
    return wish;
}

static int read_wishes(const struct pod *pod, const struct protocol_rules *rules,
                       enum wish_kind kind, enum protocol protocol, struct wishes *wishes,
                       struct error *error)
{
    const struct pod_container *containers[WISHES_MAXIMUM] = {0};
    size_t count = 0;
    int r = targets_of(pod, kind == WISH_CAPTURE ? 1 : WISHES_MAXIMUM, containers, &count, error);

    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        enum protocol spoken = protocol;
        struct wish wish;

        if (protocol == PROTOCOL_SIGNALS && control_of(containers[i]))
            spoken = PROTOCOL_CONTROL;
        if (!rules->enabled[spoken])
            continue;
        wish = wish_of(pod, kind, spoken, containers[i]);
        wish.several = pod_annotation(pod, ANNOTATION_TARGETS) != NULL;
        if (add(pod, rules, &wish, wishes, r < 0 ? NULL : error) < 0)
            r = -EINVAL;
    }
    for (size_t i = 0; r < 0 && i < wishes->count; i++)
        wishes->list[i].invalid = true; /* all of them or none */
    return r;
}

/* Restore pods of ChReK alone have no label: the variable without a signal file is all that they
 * show. Whether their entry point waits for an agent is asked later, of the container itself. */
static bool is_standalone_target(const struct pod *pod)
{
    const struct pod_container *container = default_container(pod);
    const char *id = container ? container_variable(container, VARIABLE_HASH) : NULL;

    return id && *id && !container_variable(container, VARIABLE_SIGNAL_FILE) &&
           !container_variable(container, VARIABLE_LOCATION);
}

/* Operators of Dynamo Snapshot name the snapshot alone. What was made as a source, whether it is to
 * be saved or not, is none of theirs. */
static bool is_snapshot_target(const struct pod *pod)
{
    return is_set(pod, LABEL_TARGET_SNAPSHOT) ||
           (pod_label(pod, LABEL_ID_SNAPSHOT) && !pod_label(pod, LABEL_SOURCE_SNAPSHOT));
}

int protocol_read(const struct pod *pod, const struct protocol_rules *rules,
                  struct wishes *ret_wishes, struct error *error)
{
    struct wishes wishes = {.count = 0};
    int r = 0;

    if (is_set(pod, LABEL_SOURCE_SNAPSHOT))
        r = read_wishes(pod, rules, WISH_CAPTURE, PROTOCOL_SIGNALS, &wishes, error);
    else if (is_set(pod, LABEL_SOURCE_CHREK))
        r = read_wishes(pod, rules, WISH_CAPTURE, PROTOCOL_CHREK, &wishes, error);
    else if (is_set(pod, LABEL_SOURCE_STANDALONE))
        r = read_wishes(pod, rules, WISH_CAPTURE, PROTOCOL_STANDALONE, &wishes, error);
    else if (is_snapshot_target(pod))
        r = read_wishes(pod, rules, WISH_RESTORE, PROTOCOL_SIGNALS, &wishes, error);
    else if (is_set(pod, LABEL_TARGET_CHREK))
        r = read_wishes(pod, rules, WISH_RESTORE, PROTOCOL_CHREK, &wishes, error);
    else if (is_standalone_target(pod))
        r = read_wishes(pod, rules, WISH_RESTORE, PROTOCOL_STANDALONE, &wishes, error);
    *ret_wishes = wishes;
    return r;
}
