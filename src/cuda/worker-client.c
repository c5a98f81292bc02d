/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/leaf.h"
#include "basic/text.h"
#include "cuda/mapped.h"
#include "cuda/thread-id.h"
#include "cuda/worker-server.h"

enum { DEADLINE_SECONDS = 600 };

struct cuda_worker {
    struct leaf leaf;
    unsigned deadline_msec;
    bool hung; /* a call never came back; the worker is left to itself */
    bool dead; /* ended on its own, reaped */
    /* what it has been asked to lock or move and did not give back: a crash must not lose it */
    struct cuda_process *touched;
    size_t touched_count;
    char *reply; /* WORKER_REPLY_MAX bytes */
};

struct call {
    enum worker_request_kind kind;
    const struct cuda_process *processes;
    size_t count;
    unsigned timeout_msec;
    const char *text;
    int *ret_fd; /* where to put a received descriptor, or NULL */
};

static void touched_add(struct cuda_worker *worker, const struct cuda_process *processes,
                        size_t count)
{
    struct cuda_process *all = allocate((worker->touched_count + count) * sizeof *all + 1);

    if (worker->touched_count > 0)
        memcpy(all, worker->touched, worker->touched_count * sizeof *all);
    if (count > 0)
        memcpy(all + worker->touched_count, processes, count * sizeof *all);
    free(worker->touched);
    worker->touched = all;
    worker->touched_count += count;
}

static void touched_remove(struct cuda_worker *worker, const struct cuda_process *processes,
                           size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < worker->touched_count; i++) {
        bool remove = false;

        for (size_t j = 0; j < count && !remove; j++)
            remove = processes[j].pid == worker->touched[i].pid;
        if (!remove)
            worker->touched[kept++] = worker->touched[i];
    }
    worker->touched_count = kept;
}

/* The worker is gone: says how, and reaps it. */
static int worker_died(struct cuda_worker *worker, struct error *error)
{
    int status = 0;

    worker->dead = true;
    if (worker->leaf.pid > 0 && waitpid(worker->leaf.pid, &status, 0) == worker->leaf.pid)
        worker->leaf.pid = -1;
    leaf_done(&worker->leaf);
    if (WIFSIGNALED(status))
        (void)error_set(error, "cuda-worker-died", 0,
                        "The CUDA worker was ended by signal %d (%s) inside the vendor's library",
                        WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        (void)error_set(error, "cuda-worker-died", 0,
                        "The CUDA worker ended unexpectedly (exit status %d)", WEXITSTATUS(status));
    return -EPIPE;
}

static int worker_usable(const struct cuda_worker *worker, struct error *error)
{
    if (worker->hung) {
        (void)error_set(error, "cuda-hung", 0, "The CUDA worker still waits for the driver");
        return -ETIME;
    }
    if (worker->dead) {
        (void)error_set(error, "cuda-worker-died", 0, "The CUDA worker has died before");
        return -EPIPE;
    }
    return 0;
}

static ssize_t reply_wait(struct cuda_worker *worker, unsigned deadline_msec, int *ret_fd)
{
    uint64_t deadline = clock_now_usec() + (uint64_t)deadline_msec * 1000;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct iovec vector = {.iov_base = worker->reply, .iov_len = WORKER_REPLY_MAX};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header;
    ssize_t received;

    for (;;) {
        struct pollfd poll_fd = {.fd = worker->leaf.socket, .events = POLLIN};
        uint64_t now = clock_now_usec();
        int left = deadline > now ? (int)((deadline - now) / 1000 + 1) : 0;

        if (poll(&poll_fd, 1, left) == 0)
            return -ETIME;
        received = recvmsg(worker->leaf.socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (received >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    header = received > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_type == SCM_RIGHTS) {
        int fd;

        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        if (ret_fd)
            *ret_fd = fd;
        else
            (void)close(fd);
    }
    return received;
}

/* Codes have to be static strings: the catalogue has them. */
static int reply_error(const struct worker_reply *reply, struct error *error)
{
    const struct catalogue_entry *entry;

    if (reply->result >= 0)
        return 0;
    entry = catalogue_find(reply->code);
    (void)error_set(error, entry ? entry->code : "cuda-failed", 0, "%.2047s", reply->message);
    return reply->result;
}

static int reply_read(struct cuda_worker *worker, unsigned deadline_msec, int *ret_fd,
                      struct error *error)
{
    const struct worker_reply *reply = (const void *)worker->reply;
    ssize_t received = reply_wait(worker, deadline_msec, ret_fd);

    if (received == -ETIME) {
        worker->hung = true;
        (void)error_set(error, "cuda-hung", 0, "The CUDA driver did not finish within %u s",
                        deadline_msec / 1000);
        return -ETIME;
    }
    if (received < (ssize_t)sizeof *reply)
        return worker_died(worker, error);
    return reply_error(reply, error);
}

static int request_send(struct cuda_worker *worker, const struct call *call)
{
    size_t text_length = call->text ? strlen(call->text) + 1 : 0;
    struct worker_request request = {.kind = call->kind,
                                     .count = (uint32_t)call->count,
                                     .timeout_msec = call->timeout_msec,
                                     .text_length = (uint32_t)text_length};
    struct iovec vectors[3] = {{.iov_base = &request, .iov_len = sizeof request},
                               {.iov_base = (void *)(uintptr_t)call->processes,
                                .iov_len = call->count * sizeof *call->processes},
                               {.iov_base = (void *)(uintptr_t)call->text, .iov_len = text_length}};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 3};
    ssize_t sent;

    do {
        sent = sendmsg(worker->leaf.socket, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

static int call_worker(struct cuda_worker *worker, const struct call *call, struct error *error)
{
    unsigned long long deadline = worker->deadline_msec;
    int result;

    result = worker_usable(worker, error);
    if (result < 0)
        return result;
    if (call->count > WORKER_PROCESSES_MAX || (call->text && strlen(call->text) >= WORKER_TEXT_MAX))
        return error_set(error, "cuda-worker-failed", E2BIG, "Too many processes or GPUs");
    if (request_send(worker, call) < 0)
        return worker_died(worker, error);
    /* The driver keeps the limit for each of the processes. */
    deadline += (unsigned long long)call->timeout_msec * (call->count ? call->count : 1);
    return reply_read(worker, deadline > 0x7fffffff ? 0x7fffffff : (unsigned)deadline, call->ret_fd,
                      error);
}

/* Starts a leaf and waits for its greeting. */
static int worker_launch(struct cuda_worker *worker, struct error *error)
{
    static pid_t owner;
    int result;

    owner = getpid();
    result = leaf_start(worker_serve, &owner, false, &worker->leaf, error);
    if (result < 0)
        return result;
    return reply_read(worker, worker->deadline_msec, NULL, error);
}

int cuda_worker_start(struct cuda_worker **ret_worker, struct error *error)
{
    struct cuda_worker *worker = allocate(sizeof *worker);
    int result;

    worker->leaf = LEAF_INIT;
    worker->deadline_msec = DEADLINE_SECONDS * 1000;
    worker->reply = allocate(WORKER_REPLY_MAX);
    result = worker_launch(worker, error);
    if (result < 0) {
        cuda_worker_free(worker);
        return result;
    }
    *ret_worker = worker;
    return 0;
}

void cuda_worker_set_deadline(struct cuda_worker *worker, unsigned seconds)
{
    worker->deadline_msec = seconds * 1000;
}

/* Waits for the end of the worker, which rolls back on its way; leaves it alone when it hangs. */
static void worker_wait(struct cuda_worker *worker)
{
    CLEANUP(close_fd) int pidfd = -1;
    struct pollfd poll_fd;

    close_fd(&worker->leaf.socket);
    if (worker->leaf.pid <= 0)
        return;
    pidfd = pidfd_of(worker->leaf.pid);
    poll_fd = (struct pollfd){.fd = pidfd, .events = POLLIN};
    if (!worker->hung && pidfd >= 0) {
        while (poll(&poll_fd, 1, (int)worker->deadline_msec) < 0 && errno == EINTR)
            ;
    }
    (void)waitpid(worker->leaf.pid, NULL, pidfd >= 0 ? WNOHANG : 0);
    worker->leaf.pid = -1;
}

void cuda_worker_free(struct cuda_worker *worker)
{
    if (!worker)
        return;
    if (worker->dead && worker->touched_count > 0)
        (void)cuda_worker_roll_back(worker, NULL);
    worker_wait(worker);
    free(worker->touched);
    free(worker->reply);
    free(worker);
}

static void reply_processes(const struct cuda_worker *worker, struct cuda_process *processes,
                            size_t *count)
{
    const struct worker_reply *reply = (const void *)worker->reply;

    memcpy(processes + *count, reply + 1, reply->count * sizeof *processes);
    *count += reply->count;
}

/* Those of `pids` that have the driver library mapped, as candidates. */
static size_t candidates(const pid_t *pids, size_t count, struct cuda_process *processes)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        if (process_maps_libcuda(pids[i]))
            processes[found++] = (struct cuda_process){pids[i], 0};
    }
    return found;
}

int cuda_worker_find(struct cuda_worker *worker, const pid_t *pids, size_t count,
                     struct cuda_process **ret_processes, size_t *ret_count, struct error *error)
{
    CLEANUP(free_ptr) struct cuda_process *asked = allocate(count * sizeof *asked + 1);
    CLEANUP(free_ptr) struct cuda_process *found = allocate(count * sizeof *found + 1);
    size_t asked_count = candidates(pids, count, asked), found_count = 0;

    for (size_t done = 0; done < asked_count;) {
        size_t left = asked_count - done;
        size_t piece = left < WORKER_PROCESSES_MAX ? left : WORKER_PROCESSES_MAX;
        struct call call = {.kind = WORKER_FIND, .processes = asked + done, .count = piece};
        int result = call_worker(worker, &call, error);

        if (result < 0)
            return result;
        reply_processes(worker, found, &found_count);
        done += piece;
    }
    *ret_processes = STEAL_PTR(found);
    *ret_count = found_count;
    return 0;
}

int cuda_worker_states(struct cuda_worker *worker, const pid_t *pids, size_t count, int *states,
                       struct error *error)
{
    CLEANUP(free_ptr) struct cuda_process *processes = allocate(count * sizeof *processes + 1);
    struct call call = {.kind = WORKER_STATES, .processes = processes, .count = count};
    size_t answered = 0;
    int result;

    for (size_t i = 0; i < count; i++)
        processes[i].pid = pids[i];
    result = call_worker(worker, &call, error);
    if (result < 0)
        return result;
    reply_processes(worker, processes, &answered);
    for (size_t i = 0; i < answered; i++)
        states[i] = processes[i].restore_tid;
    return 0;
}

int cuda_worker_lock(struct cuda_worker *worker, const struct cuda_process *processes, size_t count,
                     unsigned timeout_msec, struct error *error)
{
    struct call call = {
        .kind = WORKER_LOCK, .processes = processes, .count = count, .timeout_msec = timeout_msec};
    int result;

    touched_add(worker, processes, count);
    result = call_worker(worker, &call, error);
    if (result < 0 && !worker->dead && !worker->hung)
        touched_remove(worker, processes, count);
    return result;
}

int cuda_worker_checkpoint(struct cuda_worker *worker, const struct cuda_process *processes,
                           size_t count, struct error *error)
{
    struct call call = {.kind = WORKER_CHECKPOINT, .processes = processes, .count = count};

    touched_remove(worker, processes, count);
    touched_add(worker, processes, count);
    return call_worker(worker, &call, error);
}

int cuda_worker_restore(struct cuda_worker *worker, const struct cuda_process *processes,
                        size_t count, const char *device_map, struct error *error)
{
    struct call call = {
        .kind = WORKER_RESTORE, .processes = processes, .count = count, .text = device_map};

    touched_remove(worker, processes, count);
    touched_add(worker, processes, count);
    return call_worker(worker, &call, error);
}

int cuda_worker_unlock(struct cuda_worker *worker, const struct cuda_process *processes,
                       size_t count, struct error *error)
{
    struct call call = {.kind = WORKER_UNLOCK, .processes = processes, .count = count};
    int result = call_worker(worker, &call, error);

    if (result == 0)
        touched_remove(worker, processes, count);
    return result;
}

int cuda_worker_plugin_for_capture(struct cuda_worker *worker, const struct cuda_process *processes,
                                   size_t count, int *ret_fd, struct error *error)
{
    struct call call = {
        .kind = WORKER_PLUGIN_CAPTURE, .processes = processes, .count = count, .ret_fd = ret_fd};

    return call_worker(worker, &call, error);
}

int cuda_worker_plugin_for_restore(struct cuda_worker *worker, const pid_t *inner_pids,
                                   size_t count, const char *device_map, int *ret_fd,
                                   struct error *error)
{
    CLEANUP(free_ptr) struct cuda_process *processes = allocate(count * sizeof *processes + 1);
    struct call call = {.kind = WORKER_PLUGIN_RESTORE,
                        .processes = processes,
                        .count = count,
                        .text = device_map,
                        .ret_fd = ret_fd};

    for (size_t i = 0; i < count; i++)
        processes[i].pid = inner_pids[i];
    return call_worker(worker, &call, error);
}

int cuda_worker_plugin_result(struct cuda_worker *worker, double *ret_seconds, struct error *error)
{
    const struct worker_reply *reply = (const void *)worker->reply;
    struct call call = {.kind = WORKER_PLUGIN_RESULT};
    int result = call_worker(worker, &call, error);

    if (ret_seconds)
        *ret_seconds = worker->dead || worker->hung ? 0 : reply->seconds;
    return result;
}

int cuda_worker_commit(struct cuda_worker *worker, struct error *error)
{
    struct call call = {.kind = WORKER_COMMIT};
    int result = call_worker(worker, &call, error);

    if (result == 0)
        worker->touched_count = 0;
    return result;
}

int cuda_worker_roll_back(struct cuda_worker *worker, struct error *error)
{
    struct call call = {.kind = WORKER_ROLL_BACK};
    int result;

    if (worker->dead) {
        worker->dead = false;
        result = worker_launch(worker, error);
        if (result < 0) {
            worker->dead = true;
            return result;
        }
    }
    call.processes = worker->touched;
    call.count = worker->touched_count;
    result = call_worker(worker, &call, error);
    if (result == 0)
        worker->touched_count = 0;
    return result;
}
