/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/worker-server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/text.h"
#include "cuda/thread-id.h"

enum {
    PATIENCE_USEC = 10 * 1000 * 1000, /* for CRIU to end after it is said to have ended */
    LOCK_ROUNDS = 2,
};

/* A request taken apart. */
struct task {
    enum worker_request_kind kind;
    const struct cuda_process *processes;
    size_t count;
    unsigned timeout_msec;
    const char *text;
};

/* An answer being put together. */
struct answer {
    struct cuda_process *processes; /* owned */
    size_t count;
    double seconds;
    int fd; /* to pass to the owner; owned */
};

static void reply_send(struct worker_server *server, int result, const struct answer *answer,
                       const struct error *error)
{
    struct worker_reply reply = {.result = result};
    struct iovec vectors[2] = {{.iov_base = &reply, .iov_len = sizeof reply}};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};

    if (server->owner < 0)
        return;
    if (error->code) {
        (void)snprintf(reply.code, sizeof reply.code, "%s", error->code);
        (void)snprintf(reply.message, sizeof reply.message, "%s", error->message);
    }
    if (answer) {
        reply.count = (uint32_t)answer->count;
        reply.seconds = answer->seconds;
        vectors[1] = (struct iovec){.iov_base = answer->processes,
                                    .iov_len = answer->count * sizeof *answer->processes};
        message.msg_iovlen = answer->count > 0 ? 2 : 1;
    }
    if (answer && answer->fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &answer->fd, sizeof(int));
    }
    (void)sendmsg(server->owner, &message, MSG_NOSIGNAL);
}

/* A process that has none of it is no error. */
static int task_find(struct worker_server *server, const struct task *task, struct answer *answer,
                     struct error *error)
{
    answer->processes = allocate(task->count * sizeof *answer->processes + 1);
    for (size_t i = 0; i < task->count; i++) {
        pid_t pid = task->processes[i].pid, told, tid;
        struct error inner = ERROR_INIT;
        int result = cuda_get_restore_tid(&server->driver, pid, &told, &inner);

        if (result == 0)
            result = thread_id_to_outer(pid, told, &tid) < 0 ? -ENODATA : 0;
        if (result == 0)
            answer->processes[answer->count++] = (struct cuda_process){pid, tid};
        if (result < 0 && result != -ENODATA) {
            error_move(error, &inner);
            return result;
        }
        error_done(&inner);
    }
    return 0;
}

static int task_states(struct worker_server *server, const struct task *task, struct answer *answer,
                       struct error *error)
{
    answer->processes = allocate(task->count * sizeof *answer->processes + 1);
    for (size_t i = 0; i < task->count; i++) {
        stasis_cu_process_state state;
        int result = cuda_get_state(&server->driver, task->processes[i].pid, &state, error);

        if (result < 0)
            return result;
        answer->processes[answer->count++] =
            (struct cuda_process){task->processes[i].pid, (pid_t)state};
    }
    return 0;
}

/* Something new begins: what was committed before is none of its business. */
static void uncommit(struct worker_server *server)
{
    if (server->committed)
        worker_track_remove_all(server);
    server->committed = false;
}

/* Locks in order (or in the reverse of it); unlocks those locked when one can't be. */
static int lock_round(struct worker_server *server, const struct task *task, unsigned timeout_msec,
                      bool backwards, struct error *error)
{
    for (size_t done = 0; done < task->count; done++) {
        size_t i = backwards ? task->count - 1 - done : done;
        int result;

        result = cuda_lock(&server->driver, task->processes[i].pid, timeout_msec, error);
        if (result == 0) {
            worker_track_add(server, &task->processes[i]);
            continue;
        }
        while (done-- > 0) {
            i = backwards ? task->count - 1 - done : done;
            if (cuda_unlock(&server->driver, task->processes[i].pid, NULL) == 0)
                worker_track_remove(server, task->processes[i].pid);
        }
        return result;
    }
    return 0;
}

/*
 * Processes that work together on their GPUs (a collective of many ranks) can wait for each other:
 * one that is locked keeps another from ever becoming idle. So the time is spent in two rounds, the
 * second from the other end, with everything running in between.
 */
static int task_lock(struct worker_server *server, const struct task *task, struct error *error)
{
    unsigned rounds = task->count > 1 && task->timeout_msec >= LOCK_ROUNDS ? LOCK_ROUNDS : 1;
    unsigned slice = task->timeout_msec / rounds;
    int result = 0;

    uncommit(server);
    for (unsigned round = 0; round < rounds; round++) {
        struct error inner = ERROR_INIT;

        result = lock_round(server, task, slice, round % 2 == 1, &inner);
        if (result == -ETIMEDOUT && round + 1 < rounds && !worker_owner_gone(server)) {
            error_done(&inner);
            continue;
        }
        error_move(error, &inner);
        break;
    }
    return result;
}

/* All or nothing: when one fails, those before it go back to locked. */
static int task_checkpoint(struct worker_server *server, const struct task *task,
                           struct error *error)
{
    for (size_t i = 0; i < task->count; i++) {
        int result;

        worker_track_add(server, &task->processes[i]);
        result = cuda_checkpoint(&server->driver, task->processes[i].pid, error);
        if (result == 0)
            continue;
        while (i-- > 0)
            (void)cuda_restore(&server->driver, task->processes[i].pid, NULL, NULL);
        return result;
    }
    return 0;
}

static int task_restore(struct worker_server *server, const struct task *task, struct error *error)
{
    CLEANUP(cuda_device_map_done) struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;
    int result;

    result = cuda_device_map_parse(task->text, &map, error);
    for (size_t i = 0; i < task->count && result == 0; i++) {
        worker_track_add(server, &task->processes[i]);
        result = cuda_restore(&server->driver, task->processes[i].pid, &map, error);
    }
    return result;
}

static int task_unlock(struct worker_server *server, const struct task *task, struct error *error)
{
    int first = 0;

    for (size_t i = 0; i < task->count; i++) {
        struct error inner = ERROR_INIT;
        int result = cuda_unlock(&server->driver, task->processes[i].pid, &inner);

        if (result == 0)
            worker_track_remove(server, task->processes[i].pid);
        if (result < 0 && first == 0) {
            first = result;
            error_move(error, &inner);
        }
        error_done(&inner);
    }
    return first;
}

static int task_plugin(struct worker_server *server, const struct task *task, struct answer *answer,
                       struct error *error)
{
    CLEANUP(cuda_device_map_done) struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;
    enum worker_plugin_role role = WORKER_PLUGIN_FOR_CAPTURE;
    int result;

    if (task->kind == WORKER_PLUGIN_RESTORE) {
        role = WORKER_PLUGIN_FOR_RESTORE;
        result = cuda_device_map_parse(task->text, &map, error);
        if (result == 0 && map.count > 0)
            result = cuda_driver_require_device_map(&server->driver, error);
        if (result < 0)
            return result;
    }
    if (role == WORKER_PLUGIN_FOR_CAPTURE)
        uncommit(server);
    return worker_plugin_start(server, role, task->processes, task->count, &map, &answer->fd,
                               error);
}

static int task_commit(struct worker_server *server, struct error *error)
{
    if (server->plugin.role == WORKER_PLUGIN_FOR_CAPTURE && server->plugin.verdict_given &&
        !server->committed)
        return error_set(error, "cuda-too-late", ESTALE,
                         "The dump has ended: its processes run again");
    server->committed = true;
    /* With CRIU they are to end; that they do is looked at when CRIU has ended. */
    if (server->plugin.role != WORKER_PLUGIN_FOR_CAPTURE)
        worker_track_remove_all(server);
    return 0;
}

/* Has everything of a conversation with the plugin been settled? */
static bool plugin_settled(const struct worker_server *server)
{
    const struct worker_plugin *plugin = &server->plugin;

    /* A CRIU that was not told to detach stays with the processes that it has restored. */
    if (plugin->role == WORKER_PLUGIN_FOR_RESTORE && plugin->introduced &&
        worker_plugin_all_moved(plugin))
        return true;
    return plugin->over || (plugin->finished && server->track_count == 0);
}

static void plugin_result_send(struct worker_server *server)
{
    struct worker_plugin *plugin = &server->plugin;
    struct answer answer = {.fd = -1};
    struct error error = ERROR_INIT;
    int result = 0;

    worker_plugin_end(server);
    server->result_wanted = false;
    answer.seconds = plugin->seconds;
    if (plugin->error.code) {
        result = plugin->error.number ? -plugin->error.number : -EIO;
        error_move(&error, &plugin->error);
    }
    reply_send(server, result, &answer, &error);
    error_done(&error);
    worker_plugin_done(plugin);
}

/* By now CRIU has ended, as far as its owner knows: so what it said can be read already. */
static void plugin_result_start(struct worker_server *server)
{
    struct worker_plugin *plugin = &server->plugin;

    worker_plugin_serve(server);
    if (plugin_settled(server) || plugin->criu < 0 || pidfd_ended(plugin->criu)) {
        plugin_result_send(server);
        return;
    }
    server->result_wanted = true;
    server->result_deadline_usec = clock_now_usec() + PATIENCE_USEC;
}

static int task_do(struct worker_server *server, const struct task *task, struct answer *answer,
                   struct error *error)
{
    switch (task->kind) {
    case WORKER_FIND:
        return task_find(server, task, answer, error);
    case WORKER_STATES:
        return task_states(server, task, answer, error);
    case WORKER_LOCK:
        return task_lock(server, task, error);
    case WORKER_CHECKPOINT:
        return task_checkpoint(server, task, error);
    case WORKER_RESTORE:
        return task_restore(server, task, error);
    case WORKER_UNLOCK:
        return task_unlock(server, task, error);
    case WORKER_PLUGIN_CAPTURE:
    case WORKER_PLUGIN_RESTORE:
        return task_plugin(server, task, answer, error);
    case WORKER_COMMIT:
        return task_commit(server, error);
    case WORKER_ROLL_BACK:
        for (size_t i = 0; i < task->count; i++)
            worker_track_add(server, &task->processes[i]);
        return worker_conclude(server, error);
    default:
        return error_set(error, "cuda-worker-failed", EPROTO, "Unknown request");
    }
}

static void task_answer(struct worker_server *server, const struct task *task)
{
    struct answer answer = {.fd = -1};
    struct error error = ERROR_INIT;
    int result;

    if (task->kind == WORKER_PLUGIN_RESULT && server->plugin.role != WORKER_PLUGIN_NONE) {
        plugin_result_start(server);
        return;
    }
    result = task_do(server, task, &answer, &error);
    reply_send(server, result, &answer, &error);
    /* Ready before CRIU is: restoring needs an initialized driver, which takes a while. */
    if (result == 0 && task->kind == WORKER_PLUGIN_RESTORE && task->count > 0)
        (void)cuda_driver_initialize(&server->driver, NULL);
    free(answer.processes);
    close_fd(&answer.fd);
    error_done(&error);
}

static void owner_lost(struct worker_server *server)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    close_fd(&server->owner);
    close_fd(&server->owner_pidfd);
    /* Whoever waits for the owner's output to end must not wait for this process. */
    if (null >= 0) {
        (void)dup2(null, STDERR_FILENO);
        close_fd(&null);
    }
}

static void owner_serve(struct worker_server *server, char *space)
{
    const struct worker_request *request = (const void *)space;
    ssize_t received = recv(server->owner, space, WORKER_REQUEST_MAX, MSG_DONTWAIT);
    struct task task;

    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (received < (ssize_t)sizeof *request ||
        (size_t)received !=
            sizeof *request + request->count * sizeof *task.processes + request->text_length) {
        owner_lost(server);
        return;
    }
    task = (struct task){.kind = (enum worker_request_kind)request->kind,
                         .processes = (const void *)(request + 1),
                         .count = request->count,
                         .timeout_msec = request->timeout_msec,
                         .text = space + received - request->text_length};
    if (request->text_length == 0)
        task.text = "";
    task_answer(server, &task);
}

bool worker_owner_gone(struct worker_server *server)
{
    struct pollfd poll_fds[2] = {{.fd = server->owner, .events = 0},
                                 {.fd = server->owner_pidfd, .events = POLLIN}};

    if (server->owner < 0)
        return true;
    return poll(poll_fds, 2, 0) > 0 &&
           ((poll_fds[0].revents & (POLLHUP | POLLERR)) || (poll_fds[1].revents & POLLIN));
}

/* CRIU did not end though its owner said so. Its tasks may be stopped, so nothing can be settled.
 */
static void plugin_result_give_up(struct worker_server *server)
{
    struct error error = ERROR_INIT;

    server->result_wanted = false;
    reply_send(server, error_set(&error, "cuda-plugin-lost", EBUSY, "CRIU is still at work"), NULL,
               &error);
    error_done(&error);
}

static int wait_msec(const struct worker_server *server)
{
    uint64_t now = clock_now_usec(), deadline = server->result_deadline_usec;

    if (!server->result_wanted)
        return -1;
    return deadline > now ? (int)((deadline - now) / 1000 + 1) : 0;
}

/* While a CRIU whose plugin has spoken lives, the tasks may be stopped, and only it can move them.
 */
static bool plugin_at_work(const struct worker_server *server)
{
    return server->plugin.role != WORKER_PLUGIN_NONE && server->plugin.introduced &&
           !plugin_settled(server);
}

static void serve(struct worker_server *server, char *space)
{
    while (server->owner >= 0 || plugin_at_work(server)) {
        struct pollfd poll_fds[4] = {{.fd = server->owner, .events = POLLIN},
                                     {.fd = server->owner_pidfd, .events = POLLIN},
                                     {.fd = server->plugin.socket, .events = POLLIN},
                                     {.fd = server->plugin.criu, .events = POLLIN}};

        if (poll(poll_fds, 4, wait_msec(server)) < 0 && errno != EINTR)
            return;
        if (poll_fds[2].revents)
            worker_plugin_serve(server);
        if (poll_fds[3].revents && server->plugin.criu >= 0) {
            worker_plugin_serve(server);
            worker_plugin_end(server);
        }
        if (poll_fds[0].revents)
            owner_serve(server, space);
        if (poll_fds[1].revents && server->owner_pidfd >= 0)
            owner_lost(server);
        if (server->result_wanted && plugin_settled(server))
            plugin_result_send(server);
        if (server->result_wanted && clock_now_usec() >= server->result_deadline_usec)
            plugin_result_give_up(server);
    }
}

/* The parent's descriptors, signals and settings must not live on here: this process may stay. */
static void detach_from_parent(int *socket)
{
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTTOU, SIGTTIN};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;

    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
    }
    if (*socket != STDERR_FILENO + 1) {
        (void)dup3(*socket, STDERR_FILENO + 1, O_CLOEXEC);
        *socket = STDERR_FILENO + 1;
    }
    (void)close_range(STDERR_FILENO + 2, ~0U, 0);
    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_NAME, "cuda-worker");
    /* A folder that it stands in could not be unmounted; where that fails, it stays. */
    if (chdir("/") < 0)
        errno = 0;
    /* It would hide GPUs that the processes of others use. */
    (void)unsetenv("CUDA_VISIBLE_DEVICES");
}

int worker_serve(int socket, void *context)
{
    struct worker_server server = {.plugin = {.socket = -1, .criu = -1}};
    CLEANUP(free_ptr) char *space = allocate(WORKER_REQUEST_MAX);
    const pid_t *owner = context;
    struct error error = ERROR_INIT;
    int result;

    server.owner_pidfd = -1;
    detach_from_parent(&socket);
    server.owner = socket;
    server.owner_pidfd = pidfd_of(*owner);
    if (server.owner_pidfd < 0)
        server.owner_pidfd = -1;
    result = cuda_driver_open(&server.driver, &error);
    if (result == 0)
        result = cuda_driver_require_checkpoint(&server.driver, &error);
    reply_send(&server, result, NULL, &error);
    error_done(&error);
    if (result == 0)
        serve(&server, space);
    (void)worker_conclude(&server, NULL);
    worker_track_remove_all(&server);
    worker_plugin_done(&server.plugin);
    close_fd(&server.owner);
    close_fd(&server.owner_pidfd);
    return 0;
}
