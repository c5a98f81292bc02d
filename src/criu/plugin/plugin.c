/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CRIU plugin. When CRIU has stopped the tree it has the CUDA worker checkpoint the GPU state
 * of each process; when a dump is over without being committed, and at the end of a restore, it
 * has it brought back. The worker does not live here: CRIU must not load the vendor's library.
 * Without STASIS_PLUGIN_FD in the environment the plugin keeps out of CRIU's way.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "criu/plugin/channel.h"
#include "criu/plugin/criu-abi.h"
#include "criu/plugin/host.h"
#include "criu/plugin/thread.h"

struct process {
    pid_t pid, tid;
};

/* Of a dump: what was asked to be checkpointed, in order. Of a restore: all tasks seen. */
static struct process *processes;
static size_t process_count;
static unsigned announced; /* processes that the worker expects */
static bool failed;

enum { NVIDIA_MAJOR = 195 };

static int process_remember(pid_t pid, pid_t tid)
{
    struct process *longer = realloc(processes, (process_count + 1) * sizeof *longer);

    if (!longer)
        return -ENOMEM;
    processes = longer;
    processes[process_count++] = (struct process){.pid = pid, .tid = tid};
    return 0;
}

/* To CRIU's log and to the worker, whose owner may never read that log. */
static void problem(const char *text)
{
    struct plugin_request request = {.kind = PLUGIN_REPORT};
    struct plugin_reply reply;

    criu_log(CRIU_LOG_ERROR, "%s", text);
    (void)snprintf(request.text, sizeof request.text, "%.255s", text);
    if (channel_is_open())
        (void)channel_ask(&request, 0, NULL, NULL, &reply);
}

/* 0: not one of ours; 1: it is, with the id of its restore thread; or a negative errno. */
static int process_look_up(pid_t pid, pid_t *ret_tid)
{
    struct plugin_request request = {.kind = PLUGIN_LOOKUP};
    struct plugin_reply reply;
    int result;

    result = channel_ask(&request, pid, NULL, NULL, &reply);
    if (result < 0) {
        criu_log(CRIU_LOG_ERROR, "process %d: %s", (int)pid, reply.text);
        return result;
    }
    *ret_tid = reply.tid;
    return reply.found ? 1 : 0;
}

static int keep_running(void *context)
{
    return thread_keep_running(context);
}

/* With the restore thread, and nothing else of the process, running. */
static int process_move(unsigned kind, const struct process *process)
{
    struct plugin_request request = {.kind = kind};
    struct resumed_thread thread;
    struct plugin_reply reply;
    char text[256];
    int result, stopped;

    result = thread_resume(process->tid, &thread);
    if (result < 0) {
        (void)snprintf(text, sizeof text,
                       "can't resume the CUDA restore thread %d of process %d: %s",
                       (int)process->tid, (int)process->pid, strerror(-result));
        problem(text);
        return result;
    }
    request.mask = thread.mask;
    result = channel_ask(&request, process->pid, keep_running, &thread, &reply);
    stopped = thread_stop(&thread);
    if (result < 0)
        criu_log(CRIU_LOG_ERROR, "process %d: %s", (int)process->pid, reply.text);
    if (stopped < 0) {
        (void)snprintf(text, sizeof text, "can't stop the CUDA restore thread %d of process %d: %s",
                       (int)process->tid, (int)process->pid, strerror(-stopped));
        problem(text);
    }
    return result < 0 ? result : stopped;
}

static int checkpoint_devices(int pid)
{
    struct process process = {.pid = pid};
    int result;

    if (announced == 0)
        return -ENOTSUP;
    result = process_look_up(pid, &process.tid);
    if (result <= 0)
        return result < 0 ? result : -ENOTSUP;
    result = process_remember(process.pid, process.tid);
    if (result == 0) {
        criu_log(CRIU_LOG_INFO, "checkpointing CUDA in process %d (restore thread %d)", pid,
                 (int)process.tid);
        result = process_move(PLUGIN_CHECKPOINT, &process);
    }
    return result;
}

/* CRIU takes no notice of a failure here and lets the tasks run. None may run without its GPU
 * state, so they end; CRIU then finds that it can't let go of them, and fails as it should. */
static void restore_give_up(void)
{
    failed = true;
    for (size_t i = 0; i < process_count; i++)
        (void)kill(processes[i].pid, SIGKILL);
}

static int resume_devices_late(int pid)
{
    struct process process = {.pid = pid};
    int result;

    if (announced == 0)
        return -ENOTSUP;
    result = process_remember(pid, 0);
    if (result == 0 && !failed) {
        result = process_look_up(pid, &process.tid);
        if (result == 0)
            return -ENOTSUP;
    }
    if (result == 1) {
        criu_log(CRIU_LOG_INFO, "restoring CUDA in process %d (restore thread %d)", pid,
                 (int)process.tid);
        result = process_move(PLUGIN_RESTORE, &process);
    }
    if (result < 0 || failed) {
        (void)kill(pid, SIGKILL);
        restore_give_up();
        return result < 0 ? result : -ECANCELED;
    }
    return 0;
}

/* Where a descriptor leads if it is a device of NVIDIA's. The numbers of most of them are given out
 * at run time, so the name counts, too. */
static bool is_nvidia(int fd, const struct stat *status, char *name, size_t size)
{
    char link[64];
    ssize_t length;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, name, size - 1);
    name[length < 0 ? 0 : length] = '\0';
    return S_ISCHR(status->st_mode) &&
           (major(status->st_rdev) == NVIDIA_MAJOR || strstr(name, "/dev/nvidia") != NULL);
}

/* Something of the GPU is still there when CRIU looks at a task. */
static int device_left(const char *what, const char *name)
{
    char text[256];

    (void)snprintf(text, sizeof text,
                   "a task still has %s %.64s although CUDA was checkpointed: something else than "
                   "CUDA holds it, or a process that does not use CUDA itself",
                   what, name);
    problem(text);
    return -ENOTSUP;
}

static int handle_device_vma(int fd, const struct stat *status)
{
    char name[256];

    if (announced == 0 || !is_nvidia(fd, status, name, sizeof name))
        return -ENOTSUP;
    return device_left("a mapping of", name);
}

static int dump_external_file(int fd, int id)
{
    struct stat status;
    char name[256];

    (void)id;
    if (announced == 0 || fstat(fd, &status) < 0 || !is_nvidia(fd, &status, name, sizeof name))
        return -ENOTSUP;
    return device_left("a descriptor of", name);
}

static int introduce(unsigned stage)
{
    struct plugin_request request = {.kind = PLUGIN_HELLO, .stage = stage};
    struct plugin_reply reply;
    int result;

    result = channel_ask(&request, getpid(), NULL, NULL, &reply);
    if (result < 0) {
        criu_log(CRIU_LOG_ERROR, "%s", reply.text);
        return result;
    }
    announced = reply.count;
    channel_set_deadline(reply.deadline_msec);
    return 0;
}

static int dump_start(void)
{
    int result;

    result = channel_open();
    if (result <= 0)
        return result;
    result = introduce(PLUGIN_STAGE_DUMP);
    if (result < 0 || announced == 0)
        return result;
    inventory_add();
    freezer_avoid();
    return 0;
}

static int restore_start(void)
{
    bool needed = inventory_claim();
    int result;

    result = channel_open();
    if (result < 0)
        return result;
    if (result == 0) {
        if (!needed)
            return 0;
        criu_log(CRIU_LOG_ERROR, "these images hold processes that use CUDA: restore them with the "
                                 "program that made them, not with criu alone");
        return -ENOTSUP;
    }
    result = introduce(PLUGIN_STAGE_RESTORE);
    if (result == 0 && announced > 0)
        freezer_avoid();
    return result;
}

static int plugin_init(int stage)
{
    int result = 0;

    if (stage == CRIU_STAGE_DUMP)
        result = dump_start();
    if (stage == CRIU_STAGE_RESTORE)
        result = restore_start();
    if (result == -EBADF || result == -EINVAL)
        criu_log(CRIU_LOG_ERROR, "%s does not name a socket", PLUGIN_SOCKET_VARIABLE);
    return result;
}

/* Unless the snapshot was committed meanwhile, everything goes back to running before CRIU lets the
 * tasks go. */
static void dump_end(int dump_result)
{
    struct plugin_request request = {.kind = PLUGIN_VERDICT, .detail = dump_result};
    struct plugin_reply reply;

    if (channel_ask(&request, 0, NULL, NULL, &reply) == 0 && reply.found)
        return;
    for (size_t i = process_count; i-- > 0;) {
        criu_log(CRIU_LOG_INFO, "bringing CUDA back in process %d", (int)processes[i].pid);
        (void)process_move(PLUGIN_RESTORE, &processes[i]);
    }
}

static void plugin_exit(int stage, int result)
{
    struct plugin_request request = {.kind = PLUGIN_BYE, .detail = result};
    struct plugin_reply reply;

    if (stage == CRIU_STAGE_DUMP && announced > 0)
        dump_end(result);
    if (channel_is_open() && stage != CRIU_STAGE_PRE_DUMP)
        (void)channel_ask(&request, 0, NULL, NULL, &reply);
    channel_close();
    free(processes);
    processes = NULL;
    process_count = 0;
    announced = 0;
}

__attribute__((visibility("default"))) struct criu_plugin CR_PLUGIN_DESC = {
    .name = PLUGIN_INVENTORY_NAME,
    .init = plugin_init,
    .exit = plugin_exit,
    .version = CRIU_PLUGIN_VERSION,
    .max_hooks = CRIU_HOOKS,
    .hooks =
        {
            [CRIU_HOOK_DUMP_EXT_FILE] = dump_external_file,
            [CRIU_HOOK_HANDLE_DEVICE_VMA] = handle_device_vma,
            [CRIU_HOOK_RESUME_DEVICES_LATE] = resume_devices_late,
            [CRIU_HOOK_CHECKPOINT_DEVICES] = checkpoint_devices,
        },
};
