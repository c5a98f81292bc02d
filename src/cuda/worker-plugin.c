/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/worker-server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/text.h"
#include "cuda/plugin-protocol.h"
#include "cuda/thread-id.h"
#include "cuda/thread-mask.h"

/* The plugin gives up waiting for the driver a little before the owner does. */
enum { DEADLINE_MSEC = 590 * 1000 };

void worker_plugin_done(struct worker_plugin *plugin)
{
    close_fd(&plugin->socket);
    close_fd(&plugin->criu);
    free(plugin->processes);
    free(plugin->moved);
    free(plugin->criu_levels);
    cuda_device_map_done(&plugin->map);
    error_done(&plugin->error);
    *plugin = (struct worker_plugin){.socket = -1, .criu = -1};
}

int worker_plugin_start(struct worker_server *server, enum worker_plugin_role role,
                        const struct cuda_process *processes, size_t count,
                        struct cuda_device_map *map, int *ret_far, struct error *error)
{
    struct worker_plugin *plugin = &server->plugin;
    int pair[2];

    if (plugin->role != WORKER_PLUGIN_NONE && !plugin->over)
        return error_set(error, "cuda-plugin-lost", EBUSY, "A CRIU is still at work");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(error, "system", errno, "Can't make a socket pair");
    worker_plugin_done(plugin);
    plugin->role = role;
    plugin->socket = pair[0];
    plugin->count = count;
    plugin->processes = allocate(count * sizeof *processes + 1);
    plugin->moved = allocate(count * sizeof *plugin->moved + 1);
    if (count > 0)
        memcpy(plugin->processes, processes, count * sizeof *processes);
    plugin->map = *map;
    *map = CUDA_DEVICE_MAP_INIT;
    *ret_far = pair[1];
    return 0;
}

/* Keeps the first error for the owner and tells the plugin. */
static void failed(struct worker_plugin *plugin, struct plugin_reply *reply, int result,
                   struct error *error)
{
    reply->result = result;
    (void)snprintf(reply->text, sizeof reply->text, "%s", error->message ? error->message : "");
    if (!plugin->error.code)
        error_move(&plugin->error, error);
    else
        error_done(error);
}

static void hello(struct worker_plugin *plugin, const struct plugin_request *request, int *pidfd,
                  struct plugin_reply *reply)
{
    uint32_t expected =
        plugin->role == WORKER_PLUGIN_FOR_CAPTURE ? PLUGIN_STAGE_DUMP : PLUGIN_STAGE_RESTORE;
    struct error error = ERROR_INIT;

    if (request->version != PLUGIN_PROTOCOL_VERSION || request->stage != expected) {
        failed(plugin, reply,
               error_set(&error, "cuda-plugin-lost", EPROTO,
                         "CRIU does not do what it was started for (another stage, or a plugin of "
                         "another version)"),
               &error);
        return;
    }
    plugin->introduced = true;
    plugin->criu = steal_fd(pidfd);
    free(plugin->criu_levels);
    plugin->criu_levels = allocate(sizeof *plugin->criu_levels);
    if (plugin->criu < 0 || pid_levels_of_pidfd(plugin->criu, plugin->criu_levels) < 0)
        plugin->criu_levels->count = 1;
    reply->count = (uint32_t)plugin->count;
    reply->deadline_msec = DEADLINE_MSEC;
}

/* The entry of a process that CRIU named, and the process as this namespace sees it. */
static int process_find(const struct worker_plugin *plugin, int pidfd, size_t *ret_index,
                        pid_t *ret_pid)
{
    struct pid_levels levels;
    pid_t wanted;
    int result;

    if (pidfd < 0)
        return -ESRCH;
    result = pid_levels_of_pidfd(pidfd, &levels);
    if (result < 0)
        return result;
    wanted =
        plugin->role == WORKER_PLUGIN_FOR_CAPTURE ? levels.ids[0] : levels.ids[levels.count - 1];
    for (size_t i = 0; i < plugin->count; i++) {
        if (plugin->processes[i].pid == wanted) {
            *ret_index = i;
            *ret_pid = levels.ids[0];
            return 0;
        }
    }
    return -ENOENT;
}

/* The restore thread's id on both sides of the namespace border. */
static int restore_thread(struct worker_server *server, pid_t pid, pid_t *ret_outer,
                          pid_t *ret_in_criu, struct error *error)
{
    struct pid_levels levels;
    pid_t told;
    int result;

    result = cuda_get_restore_tid(&server->driver, pid, &told, error);
    if (result < 0)
        return result;
    result = thread_id_to_outer(pid, told, ret_outer);
    if (result == 0)
        result = pid_levels_of(pid, *ret_outer, &levels);
    if (result == 0 && levels.count < server->plugin.criu_levels->count)
        result = -ESRCH;
    if (result < 0)
        return error_set(error, "cuda-no-state", result,
                         "Could not find restore thread for process ID %d", (int)pid);
    *ret_in_criu = levels.ids[server->plugin.criu_levels->count - 1];
    return 0;
}

static void lookup(struct worker_server *server, int pidfd, struct plugin_reply *reply)
{
    struct error error = ERROR_INIT;
    pid_t pid, outer, tid;
    size_t index;
    int result;

    result = process_find(&server->plugin, pidfd, &index, &pid);
    if (result == -ENOENT)
        return;
    if (result < 0)
        (void)error_set(&error, "cuda-worker-failed", result, "CRIU named an unknown process");
    else
        result = restore_thread(server, pid, &outer, &tid, &error);
    if (result < 0) {
        failed(&server->plugin, reply, result, &error);
        return;
    }
    reply->found = 1;
    reply->tid = tid;
}

static int process_move(struct worker_server *server, uint32_t kind, pid_t pid, struct error *error)
{
    struct worker_plugin *plugin = &server->plugin;
    int result;

    if (kind == PLUGIN_CHECKPOINT)
        return cuda_checkpoint(&server->driver, pid, error);
    if (plugin->role == WORKER_PLUGIN_FOR_CAPTURE)
        return cuda_bring_back(&server->driver, pid, error);
    if (worker_owner_gone(server))
        return error_set(error, "interrupted", ECANCELED, "The restore was abandoned");
    result = cuda_restore(&server->driver, pid, &plugin->map, error);
    return result < 0 ? result : cuda_unlock(&server->driver, pid, error);
}

static void move(struct worker_server *server, const struct plugin_request *request, int pidfd,
                 struct plugin_reply *reply)
{
    struct worker_plugin *plugin = &server->plugin;
    uint64_t start = clock_now_usec();
    struct error error = ERROR_INIT;
    pid_t pid, tid;
    size_t index;
    int result;

    result = process_find(plugin, pidfd, &index, &pid);
    if (result < 0) {
        failed(plugin, reply,
               error_set(&error, "cuda-worker-failed", result, "CRIU named an unknown process"),
               &error);
        return;
    }
    if (restore_thread(server, pid, &plugin->mask_tid, &tid, NULL) < 0)
        plugin->mask_tid = 0;
    plugin->mask = request->mask;
    result = process_move(server, request->kind, pid, &error);
    plugin->seconds += clock_seconds_since(start);
    if (result < 0) {
        failed(plugin, reply, result, &error);
        return;
    }
    plugin->moved[index] = true;
    if (request->kind == PLUGIN_RESTORE)
        worker_track_remove(server, pid);
}

/* One request, with at most one descriptor. Returns the number of bytes like recvmsg(2). */
static ssize_t request_receive(int socket, struct plugin_request *request, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct iovec vector = {.iov_base = request, .iov_len = sizeof *request};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header;
    ssize_t received;

    do {
        received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (received < 0 && errno == EINTR);
    *ret_fd = -1;
    header = received > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
    return received;
}

static void request_answer(struct worker_server *server, const struct plugin_request *request,
                           int *pidfd)
{
    struct worker_plugin *plugin = &server->plugin;
    struct plugin_reply reply = {.result = 0};

    /* The plugin goes on talking, so it has put the mask of the thread before back itself. */
    plugin->mask_tid = 0;
    switch (request->kind) {
    case PLUGIN_HELLO:
        hello(plugin, request, pidfd, &reply);
        break;
    case PLUGIN_LOOKUP:
        lookup(server, *pidfd, &reply);
        break;
    case PLUGIN_CHECKPOINT:
    case PLUGIN_RESTORE:
        move(server, request, *pidfd, &reply);
        break;
    case PLUGIN_VERDICT:
        plugin->verdict_given = true;
        plugin->criu_failed = request->detail != 0;
        reply.found = server->committed && !worker_owner_gone(server);
        break;
    case PLUGIN_REPORT:
        if (!plugin->error.code)
            (void)error_set(&plugin->error, "cuda-plugin-failed", 0, "%.255s", request->text);
        break;
    case PLUGIN_BYE:
        plugin->finished = true;
        plugin->criu_failed = plugin->criu_failed || request->detail != 0;
        break;
    default:
        reply.result = -EPROTO;
        break;
    }
    (void)send(plugin->socket, &reply, sizeof reply, MSG_NOSIGNAL);
}

void worker_plugin_serve(struct worker_server *server)
{
    struct worker_plugin *plugin = &server->plugin;

    while (plugin->socket >= 0) {
        struct plugin_request request = {.version = 0};
        CLEANUP(close_fd) int pidfd = -1;
        ssize_t received = request_receive(plugin->socket, &request, &pidfd);

        if (received < 0 && errno == EAGAIN)
            return;
        if (received != (ssize_t)sizeof request) {
            close_fd(&plugin->socket);
            /* After a good-bye the tasks may still be stopped for a moment: the end of CRIU tells.
             */
            if (!plugin->finished || plugin->criu < 0)
                worker_plugin_end(server);
            return;
        }
        request.text[sizeof request.text - 1] = '\0';
        request_answer(server, &request, &pidfd);
    }
}

bool worker_plugin_all_moved(const struct worker_plugin *plugin)
{
    for (size_t i = 0; i < plugin->count; i++) {
        if (!plugin->moved[i])
            return false;
    }
    return true;
}

/* Where CRIU is in the pid namespace of the processes that it ends, their first one takes it along,
 * before or after its good-bye: from when all is committed on, that is no accident. */
static void unfinished_report(const struct worker_server *server, struct worker_plugin *plugin)
{
    if (plugin->error.code || plugin->count == 0)
        return;
    if (worker_plugin_all_moved(plugin) &&
        (plugin->role == WORKER_PLUGIN_FOR_RESTORE || server->committed))
        return;
    if (!plugin->introduced) {
        (void)error_set(&plugin->error, "cuda-plugin-silent", 0,
                        "CRIU ended before it had loaded the plugin");
        return;
    }
    if (!plugin->finished) {
        (void)error_set(&plugin->error, "cuda-plugin-lost", 0,
                        "CRIU ended in the middle of its work");
        return;
    }
    for (size_t i = 0; i < plugin->count && !plugin->criu_failed; i++) {
        if (!plugin->moved[i]) {
            (void)error_set(&plugin->error, "cuda-process-missing", 0,
                            "CRIU did not come across the CUDA process %d",
                            (int)plugin->processes[i].pid);
            return;
        }
    }
}

void worker_plugin_end(struct worker_server *server)
{
    struct worker_plugin *plugin = &server->plugin;
    struct error error = ERROR_INIT;
    struct pid_levels levels;

    if (plugin->over)
        return;
    plugin->over = true;
    unfinished_report(server, plugin);
    if (plugin->mask_tid > 0 && pid_levels_of(plugin->mask_tid, 0, &levels) == 0)
        (void)thread_mask_repair(plugin->mask_tid, plugin->mask_tid, plugin->mask);
    if (plugin->role == WORKER_PLUGIN_FOR_CAPTURE && !server->committed &&
        worker_roll_back(server, &error) < 0 && !plugin->error.code)
        error_move(&plugin->error, &error);
    error_done(&error);
    close_fd(&plugin->socket);
    close_fd(&plugin->criu);
}
