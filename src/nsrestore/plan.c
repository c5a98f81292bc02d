/* SPDX-License-Identifier: Apache-2.0 */
#include "nsrestore/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "basic/file.h"

static int bad(struct error *error, const char *member)
{
    return error_set(error, "usage", EINVAL, "The plan's member \"%s\" makes no sense", member);
}

/* An open descriptor; it is no business of the programs that are started. */
static int read_fd(const json_t *value, const char *member, int least, int *ret_fd,
                   struct error *error)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -2;

    if (number < least || number > 1 << 20)
        return bad(error, member);
    if (number >= 0 && fd_set_inherited((int)number, false) < 0)
        return bad(error, member);
    *ret_fd = (int)number;
    return 0;
}

static int read_fds(const json_t *list, const char *member, int *ret_fds, size_t *ret_count,
                    struct error *error)
{
    size_t count = json_array_size(list);
    int r = 0;

    if (!json_is_array(list) || count > NSRESTORE_DESCRIPTORS_MAXIMUM)
        return bad(error, member);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = read_fd(json_array_get(list, i), member, 0, &ret_fds[i], error);
    *ret_count = count;
    return r;
}

static int read_namespaces(const json_t *list, struct plan *plan, struct error *error)
{
    size_t count = json_array_size(list);

    if (count == 0 || count > sizeof plan->namespaces / sizeof plan->namespaces[0])
        return bad(error, "namespaces");
    for (size_t i = 0; i < count; i++) {
        plan->namespaces[i] = json_string_value(json_array_get(list, i));
        if (!plan->namespaces[i] || strchr(plan->namespaces[i], '/'))
            return bad(error, "namespaces");
    }
    plan->namespace_count = count;
    return 0;
}

static int read_mounts(const json_t *list, struct plan *plan, struct error *error)
{
    size_t count = json_array_size(list);
    int r = 0;

    if (!json_is_array(list) || count > NSRESTORE_DESCRIPTORS_MAXIMUM)
        return bad(error, "mounts");
    for (size_t i = 0; r == 0 && i < count; i++) {
        const json_t *entry = json_array_get(list, i);
        struct plan_mount *mount = &plan->mounts[i];

        mount->point = json_string_value(json_object_get(entry, "point"));
        r = mount->point && mount->point[0] == '/'
                ? read_fd(json_object_get(entry, "fd"), "mounts", 0, &mount->fd, error)
                : bad(error, "mounts");
    }
    plan->mount_count = count;
    return r;
}

static int read_criu(const json_t *criu, struct plan *plan, struct error *error)
{
    int r;

    plan->criu = (struct criu_launch){
        .binary = json_string_value(json_object_get(criu, "binary")),
        .inside = json_string_value(json_object_get(criu, "inside")),
        .plugin_directory = json_string_value(json_object_get(criu, "plugins")),
        .messages = -1,
        .terminal = -1,
        .inherited = plan->inherited,
        .personality = (unsigned)json_integer_value(json_object_get(criu, "personality")),
        /* Where a process group of the snapshot has lost its leader, CRIU must not think that its
         * own group is the one: both have small numbers. */
        .least_pid = (pid_t)json_integer_value(json_object_get(criu, "least_pid")),
    };
    if (!plan->criu.binary || !plan->criu.inside)
        return bad(error, "criu");
    r = read_fd(json_object_get(criu, "images"), "images", 0, &plan->criu.images_directory, error);
    if (r == 0)
        r = read_fd(json_object_get(criu, "work"), "work", 0, &plan->criu.work_directory, error);
    if (r == 0)
        r = read_fd(json_object_get(criu, "plugin"), "plugin", -1, &plan->criu.plugin_socket,
                    error);
    if (r == 0)
        r = read_fd(json_object_get(criu, "users"), "users", -1, &plan->criu.user_namespace, error);
    if (r == 0)
        r = read_fds(json_object_get(criu, "inherited"), "inherited", plan->inherited,
                     &plan->criu.inherited_count, error);
    return r;
}

int plan_read(int fd, struct plan *plan, struct error *error)
{
    int r;

    (void)lseek(fd, 0, SEEK_SET);
    *plan = (struct plan){.json = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL)};
    if (!json_is_object(plan->json))
        return error_set(error, "usage", EINVAL, "The plan is no JSON object");
    r = read_fd(json_object_get(plan->json, "process"), "process", 0, &plan->process, error);
    if (r == 0)
        r = read_fd(json_object_get(plan->json, "carrier"), "carrier", 0, &plan->carrier, error);
    if (r == 0)
        r = read_fd(json_object_get(plan->json, "control"), "control", 0, &plan->control, error);
    if (r == 0)
        r = read_namespaces(json_object_get(plan->json, "namespaces"), plan, error);
    if (r == 0)
        r = read_fds(json_object_get(plan->json, "cgroups"), "cgroups", plan->cgroups,
                     &plan->cgroup_count, error);
    if (r == 0)
        r = read_mounts(json_object_get(plan->json, "mounts"), plan, error);
    if (r == 0)
        r = read_criu(json_object_get(plan->json, "criu"), plan, error);
    return r;
}

void plan_done(struct plan *plan)
{
    json_decref(plan->json);
    plan->json = NULL;
}
