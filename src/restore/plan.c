/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "restore/state.h"
#include "workload/start.h"

static int bad(struct error *error, const char *what)
{
    return error_set(error, "snapshot-manifest", EBADMSG, "The manifest's %s makes no sense", what);
}

static bool get_pid(const json_t *object, const char *key, pid_t *ret_pid)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    if (value <= 0 || value > 4194304) /* PID_MAX_LIMIT */
        return false;
    *ret_pid = (pid_t)value;
    return true;
}

static int read_pids(const json_t *list, pid_t **ret_pids, size_t *ret_count)
{
    size_t count = json_array_size(list);
    pid_t *pids;

    if (count > RESTORE_PROCESSES_MAXIMUM)
        return -EINVAL;
    pids = allocate((count + 1) * sizeof *pids);
    for (size_t i = 0; i < count; i++) {
        if (!get_pid(json_array_get(list, i), "pid", &pids[i])) {
            free(pids);
            return -EINVAL;
        }
    }
    *ret_pids = pids;
    *ret_count = count;
    return 0;
}

static int stdio_number(const json_t *value)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;

    return number >= 0 && number <= 2 ? (int)number : -1;
}

static int read_stand_ins(const json_t *list, struct restore_plan *plan)
{
    size_t count = json_array_size(list);

    if (count > RESTORE_OUTSIDE_MAXIMUM)
        return -EINVAL;
    plan->stand_ins = allocate((count + 1) * sizeof *plan->stand_ins);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(list, i);
        struct stand_in *stand_in = &plan->stand_ins[i];

        stand_in->key = json_string_value(json_object_get(entry, "key"));
        stand_in->terminal =
            text_equal(json_string_value(json_object_get(entry, "kind")), "terminal");
        stand_in->writes = json_is_true(json_object_get(entry, "writes"));
        stand_in->stdio = stdio_number(json_object_get(entry, "stdio"));
        if (!stand_in->key || strlen(stand_in->key) > 128)
            return -EINVAL;
        plan->needs_terminal |= stand_in->terminal;
        plan->needs_pipe |= !stand_in->terminal && stand_in->writes;
    }
    plan->stand_in_count = count;
    return 0;
}

static enum tcp_policy read_tcp(const json_t *workload)
{
    return text_equal(json_string_value(json_object_get(workload, "tcp")), "close") ? TCP_CLOSE
                                                                                    : TCP_KEEP;
}

int restore_plan_read(const json_t *manifest, struct restore_plan *ret_plan, struct error *error)
{
    const json_t *workload = json_object_get(manifest, "workload");
    const char *mode = json_string_value(json_object_get(workload, "mode"));
    const char *stdio = json_string_value(json_object_get(workload, "stdio"));
    struct restore_plan plan = {
        .captured_mode = text_equal(mode, "own") ? WORKLOAD_OWN_PIDS : WORKLOAD_HOST_PIDS,
        .contained = text_equal(mode, "container"),
        .container = json_object_get(manifest, "container"),
        .system_v =
            json_is_true(json_object_get(json_object_get(manifest, "container"), "system_v")),
        .shell_job = json_is_true(json_object_get(workload, "shell_job")),
        .personality =
            (unsigned)json_integer_value(json_object_get(workload, "personality")) & 0xffffffffU,
        .private_shm = json_is_true(json_object_get(workload, "private_shm")),
        .tcp = read_tcp(workload),
        .stdio = STDIO_LOG,
        .name = json_string_value(json_object_get(workload, "name")),
        .command = json_object_get(workload, "command"),
    };
    int r = 0;

    if (!mode || !plan.name || !get_pid(workload, "root", &plan.root) ||
        !get_pid(workload, "main", &plan.main) ||
        !get_pid(workload, "highest_id", &plan.highest_id))
        return bad(error, "workload");
    if (stdio)
        (void)stdio_parse(stdio, &plan.stdio);
    if (read_pids(json_object_get(workload, "processes"), &plan.pids, &plan.pid_count) < 0 ||
        read_pids(json_object_get(json_object_get(manifest, "cuda"), "processes"), &plan.cuda_pids,
                  &plan.cuda_count) < 0 ||
        read_stand_ins(json_object_get(workload, "outside"), &plan) < 0)
        r = bad(error, "list of processes");
    if (r < 0)
        restore_plan_done(&plan);
    else
        *ret_plan = plan;
    return r;
}

void restore_plan_done(struct restore_plan *plan)
{
    free(plan->pids);
    free(plan->cuda_pids);
    free(plan->stand_ins);
    *plan = (struct restore_plan){0};
}
