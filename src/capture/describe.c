/* SPDX-License-Identifier: Apache-2.0 */
/* What a manifest says about a capture; docs/snapshot-format.md lists every member. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/container.h"
#include "capture/state.h"
#include "workload/attributes.h"

static json_t *text_json(const char *text)
{
    /* Command lines are bytes; what is no UTF-8 is left out rather than refused. */
    json_t *string = text ? json_string(text) : json_null();

    return string ? string : json_string("?");
}

static char *cpu_value(const char *information, const char *key)
{
    const char *line = information ? strstr(information, key) : NULL;
    const char *colon = line ? strchr(line, ':') : NULL;

    if (!colon)
        return NULL;
    colon += strspn(colon, ": \t");
    return strndup(colon, strcspn(colon, "\n"));
}

static char *read_line(const char *path)
{
    CLEANUP(free_ptr) char *text = NULL;

    if (file_read(AT_FDCWD, path, 4096, &text, NULL) < 0)
        return NULL;
    text[strcspn(text, "\n")] = 0;
    return STEAL_PTR(text);
}

static json_t *describe_source(void)
{
    CLEANUP(free_ptr) char *information = NULL;
    CLEANUP(free_ptr) char *model = NULL;
    CLEANUP(free_ptr) char *boot = read_line("/proc/sys/kernel/random/boot_id");
    struct utsname system;
    json_t *source;

    (void)uname(&system);
    (void)file_read(AT_FDCWD, "/proc/cpuinfo", 16 << 20, &information, NULL);
    model = cpu_value(information, "model name");
    source = json_pack("{so so so so so}", "host", text_json(system.nodename), "kernel",
                       text_json(system.release), "architecture", text_json(system.machine),
                       "boot_id", text_json(boot), "cpu_model", text_json(model));
    return source;
}

static bool has_cuda(const struct capture *capture, pid_t pid)
{
    for (size_t i = 0; i < capture->cuda_count; i++) {
        if (capture->cuda_processes[i].pid == pid)
            return true;
    }
    return false;
}

static json_t *describe_processes(const struct capture *capture)
{
    json_t *processes = json_array();

    for (size_t i = 0; i < capture->tree.count; i++) {
        const struct process *process = &capture->tree.processes[i];
        const struct process *parent = process_tree_find(&capture->tree, process->ppid);

        (void)json_array_append_new(
            processes,
            json_pack("{si si so si sI sb}", "pid", (int)capture_inner_pid(capture, process),
                      "ppid", parent ? (int)capture_inner_pid(capture, parent) : 0, "command",
                      text_json(process->command), "threads", (int)process->threads, "rss_bytes",
                      (json_int_t)process->rss_bytes, "cuda",
                      (int)has_cuda(capture, process->pid)));
    }
    return processes;
}

static json_t *describe_outside(const struct capture *capture)
{
    json_t *list = json_array();

    for (size_t i = 0; i < capture->outside_count; i++) {
        const struct outside *outside = &capture->outside[i];

        (void)json_array_append_new(list, json_pack("{ss ss sb si}", "key", outside->key, "kind",
                                                    outside->terminal ? "terminal"
                                                    : outside->file   ? "file"
                                                                      : "pipe",
                                                    "writes", (int)outside->writes, "stdio",
                                                    outside->stdio));
    }
    return list;
}

static json_t *describe_command(const struct capture *capture)
{
    json_t *command;

    if (capture->managed && capture->workload.command)
        return json_incref(capture->workload.command);
    command = json_array();
    (void)json_array_append_new(command, text_json(capture->tree.processes[0].command));
    return command;
}

/* The root process is ours and has none of its own: what counts is what the command has. */
static unsigned tree_personality(const struct capture *capture)
{
    size_t first =
        capture->managed && capture->inside && capture->workload.root != capture->workload.main ? 1
                                                                                                : 0;
    CLEANUP(free_ptr) pid_t *pids = allocate((capture->tree.count + 1) * sizeof *pids);
    size_t count = 0;

    for (size_t i = first; i < capture->tree.count; i++)
        pids[count++] = capture->tree.processes[i].pid;
    return attributes_personality(pids, count);
}

static const char *const tcp_names[] = {
    [TCP_KEEP] = "keep", [TCP_CLOSE] = "close", [TCP_REFUSE] = "refuse"};

static json_t *describe_workload(const struct capture *capture)
{
    const struct process *root = &capture->tree.processes[0];
    pid_t root_pid = capture_inner_pid(capture, root);
    bool has_main =
        capture->managed && process_tree_find(&capture->tree, capture->workload.main) != NULL;
    /* The command may have ended and left daemons: then the tree's root stands for it. */
    pid_t main_pid = has_main ? capture->workload.main_inner : root_pid;
    pid_t sid = capture->inside ? root->inner_sid : root->sid;

    return json_pack(
        "{so so ss si si si sb so ss so so sb sb si}", "name",
        text_json(capture->managed ? capture->workload.name : capture->id), "command",
        describe_command(capture), "mode",
        capture->contained ? "container"
        : capture->inside  ? "own"
                           : "host",
        "root", (int)root_pid, "main", (int)main_pid, "highest_id", (int)capture->highest_id,
        "shell_job", (int)(sid != root_pid), "processes", describe_processes(capture), "tcp",
        tcp_names[capture->request->tcp], "outside", describe_outside(capture), "stdio",
        capture->managed ? text_json(capture->workload.stdio) : json_null(), "private_shm",
        (int)(capture->inside && capture->workload.private_shm), "left_running",
        (int)capture->request->leave_running, "personality", (int)tree_personality(capture));
}

json_t *capture_describe(const struct capture *capture)
{
    unsigned version = capture->criu.version;
    CLEANUP(free_ptr)
    char *criu = text_format("%u.%u.%u", version / 10000, version / 100 % 100, version % 100);
    json_t *manifest =
        json_pack("{ss so so s{ss} sO sf}", "stasis", STASIS_VERSION, "source", describe_source(),
                  "workload", describe_workload(capture), "criu", "version", criu, "phases",
                  capture->phases.list, "seconds", phases_seconds(&capture->phases));

    if (json_array_size(capture->names) > 0)
        (void)json_object_set(manifest, "names", capture->names);
    if (json_array_size(capture->remaps) > 0)
        (void)json_object_set(manifest, "remaps", capture->remaps);
    if (json_array_size(capture->attributes) > 0)
        (void)json_object_set(manifest, "attributes", capture->attributes);
    if (capture->contained)
        (void)json_object_set_new(manifest, "container", capture_container_describe(capture));
    if (capture->cuda_facts)
        (void)json_object_set(manifest, "cuda", capture->cuda_facts);
    return manifest;
}
