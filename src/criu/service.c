/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/service.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "criu-rpc.pb-c.h"
#include "criu/launch.h"

enum { MESSAGE_MAXIMUM = 1 << 20 };

static void free_response(Criu__Response **response)
{
    if (*response)
        criu__response__free_unpacked(*response, NULL);
}

static int send_request(int socket, const Criu__Request *request, struct error *error)
{
    size_t length = criu__request__get_packed_size(request);
    CLEANUP(free_ptr) uint8_t *data = allocate(length);

    (void)criu__request__pack(request, data);
    if (send(socket, data, length, MSG_NOSIGNAL) < 0)
        return error_set(error, "criu-died", errno, "Can't send a request to CRIU");
    return 0;
}

/* How an answer is waited for. */
struct patience {
    unsigned seconds; /* 0: for ever, and whatever signal comes */
    int watch;        /* -1: none */
};

static int wait_for_response(int socket, const struct patience *patience, struct error *error)
{
    struct pollfd wait[] = {{.fd = socket, .events = POLLIN}, {.fd = patience->watch}};
    int limit = patience->seconds == 0 || patience->seconds > INT_MAX / 1000
                    ? -1
                    : (int)patience->seconds * 1000;
    int n;

    do {
        int r = patience->seconds ? interrupt_check(error) : 0;

        if (r < 0)
            return r;
        n = poll(wait, 2, limit);
    } while (n < 0 && errno == EINTR);
    if (n > 0 && !wait[0].revents)
        return error_set(error, "criu-died", ECHILD, "CRIU and its helper ended");
    return n > 0 ? 0
                 : error_set(error, "criu-timeout", ETIMEDOUT, "CRIU did not answer within %u s",
                             patience->seconds);
}

static int receive_response(int socket, const struct patience *patience,
                            Criu__Response **ret_response, struct error *error)
{
    CLEANUP(free_ptr) uint8_t *data = NULL;
    ssize_t length;
    int r = wait_for_response(socket, patience, error);

    if (r < 0)
        return r;

    do {
        length = recv(socket, NULL, 0, MSG_PEEK | MSG_TRUNC);
    } while (length < 0 && errno == EINTR);
    if (length <= 0)
        return error_set(error, "criu-died", length < 0 ? errno : ECONNRESET,
                         "CRIU ended before it answered");
    if (length > MESSAGE_MAXIMUM)
        return error_set(error, "criu-protocol", EMSGSIZE, "CRIU's answer is too large");
    data = allocate((size_t)length);
    length = recv(socket, data, (size_t)length, 0);
    if (length < 0)
        return error_set(error, "criu-died", errno, "Can't read CRIU's answer");
    *ret_response = criu__response__unpack(NULL, (size_t)length, data);
    if (!*ret_response)
        return error_set(error, "criu-protocol", EBADMSG, "CRIU's answer can't be decoded");
    return 0;
}

static int answer_notification(int socket, bool success, struct error *error)
{
    Criu__Request answer = CRIU__REQUEST__INIT;

    answer.type = CRIU__REQUEST_TYPE__NOTIFY;
    answer.has_notify_success = 1;
    answer.notify_success = success;
    return send_request(socket, &answer, error);
}

static int handle_notification(int socket, const Criu__Response *response,
                               criu_notify_function *notify, void *context, struct error *own)
{
    const char *point =
        response->notify && response->notify->script ? response->notify->script : "";
    pid_t pid = response->notify && response->notify->has_pid ? response->notify->pid : -1;
    int r = 0;

    if (notify && !own->code)
        r = notify(point, pid, context, own);
    return answer_notification(socket, r >= 0 && !own->code, own->code ? NULL : own);
}

/* What went wrong is in CRIU's log (criu/log.h); the error text of its answer is but the first line
 * of that, which often is a warning about something else. */
static int failed_response(const Criu__Response *response, const char *what, struct error *error)
{
    int number = response->has_cr_errno ? response->cr_errno : 0;

    return error_set(error, "criu-failed", number, "CRIU could not %s the processes", what);
}

/* Sends `request` and serves notifications until the answer to it has come. */
static int converse(int socket, const Criu__Request *request, criu_notify_function *notify,
                    void *context, const char *what, const struct patience *patience,
                    Criu__Response **ret_response, struct error *error)
{
    struct error own = ERROR_INIT;
    int r = send_request(socket, request, error);

    while (r == 0) {
        CLEANUP(free_response) Criu__Response *response = NULL;

        r = receive_response(socket, patience, &response, error);
        if (r < 0)
            break;
        if (response->type == CRIU__REQUEST_TYPE__NOTIFY) {
            r = handle_notification(socket, response, notify, context, &own);
            continue;
        }
        if (!response->success)
            r = failed_response(response, what, error);
        else
            *ret_response = STEAL_PTR(response);
        break;
    }
    if (own.code) { /* ours is the cause, what CRIU says is only the echo */
        if (r == 0) {
            criu__response__free_unpacked(*ret_response, NULL);
            *ret_response = NULL;
        }
        r = own.number ? -own.number : -EIO;
        if (error)
            error_done(error);
        error_move(error, &own);
    }
    return r;
}

static void set_tcp(Criu__Options *options, enum tcp_policy tcp)
{
    options->has_tcp_established = 1;
    options->tcp_established = tcp == TCP_KEEP;
    options->has_tcp_close = 1;
    options->tcp_close = tcp == TCP_CLOSE;
}

static void set_common(Criu__Options *options, bool shell_job, int log_level, char *log_file)
{
    options->images_dir_fd = CRIU_IMAGES_FD;
    options->has_work_dir_fd = 1;
    options->work_dir_fd = CRIU_WORK_FD;
    options->has_shell_job = 1;
    options->shell_job = shell_job;
    options->has_file_locks = 1;
    options->file_locks = 1;
    options->has_link_remap = 1;
    options->link_remap = 1;
    options->has_ext_unix_sk = 1;
    options->ext_unix_sk = 1;
    options->has_notify_scripts = 1;
    options->notify_scripts = 1;
    options->has_manage_cgroups_mode = 1;
    options->manage_cgroups_mode = CRIU__CGROUP_MODE__CGROUP_IGNORE;
    options->has_log_level = 1;
    options->log_level = log_level;
    options->log_file = log_file;
}

int criu_dump(int socket, const struct criu_dump *dump, criu_notify_function *notify, void *context,
              struct error *error)
{
    const struct patience patience = {.watch = -1};
    CLEANUP(free_response) Criu__Response *response = NULL;
    Criu__Options options = CRIU__OPTIONS__INIT;
    Criu__Request request = CRIU__REQUEST__INIT;
    char log_file[] = CRIU_DUMP_LOG;

    set_common(&options, dump->shell_job, dump->log_level, log_file);
    set_tcp(&options, dump->tcp);
    options.has_pid = 1;
    options.pid = dump->pid;
    options.has_leave_running = 1;
    options.leave_running = dump->leave_running;
    options.has_network_lock = 1;
    options.network_lock = dump->network_lock == NETWORK_LOCK_NFT
                               ? CRIU__NETWORK_LOCK__LOCK_NFTABLES
                               : CRIU__NETWORK_LOCK__LOCK_SKIP;
    options.has_ghost_limit = 1;
    options.ghost_limit = dump->ghost_limit > UINT32_MAX ? UINT32_MAX : (uint32_t)dump->ghost_limit;
    options.has_timeout = 1;
    options.timeout = dump->timeout_seconds;
    options.has_orphan_pts_master = 1;
    options.orphan_pts_master = 1;
    for (; dump->external && dump->external[options.n_external]; options.n_external++) {
    }
    options.external = (char **)(uintptr_t)dump->external;
    request.type = CRIU__REQUEST_TYPE__DUMP;
    request.opts = &options;
    return converse(socket, &request, notify, context, "save", &patience, &response, error);
}

static Criu__InheritFd **inherited_messages(const struct criu_restore *restore)
{
    Criu__InheritFd **messages =
        allocate((restore->inherited_count + 1) * (sizeof *messages + sizeof **messages));
    Criu__InheritFd *bodies = (Criu__InheritFd *)(void *)(messages + restore->inherited_count + 1);

    for (size_t i = 0; i < restore->inherited_count; i++) {
        messages[i] = &bodies[i];
        criu__inherit_fd__init(messages[i]);
        messages[i]->key = restore->inherited[i].key;
        messages[i]->fd = CRIU_FIRST_INHERITED_FD + (int)i;
    }
    return messages;
}

int criu_restore(int socket, const struct criu_restore *restore, criu_notify_function *notify,
                 void *context, pid_t *ret_pid, struct error *error)
{
    const struct patience patience = {.seconds = restore->timeout_seconds, .watch = restore->watch};
    CLEANUP(free_response) Criu__Response *response = NULL;
    CLEANUP(free_ptr) Criu__InheritFd **inherited = inherited_messages(restore);
    Criu__Options options = CRIU__OPTIONS__INIT;
    Criu__Request request = CRIU__REQUEST__INIT;
    char log_file[] = CRIU_RESTORE_LOG;
    int r;

    set_common(&options, restore->shell_job, restore->log_level, log_file);
    set_tcp(&options, restore->tcp);
    options.n_inherit_fd = restore->inherited_count;
    options.inherit_fd = inherited;
    request.type = CRIU__REQUEST_TYPE__RESTORE;
    request.opts = &options;
    r = converse(socket, &request, notify, context, "restore", &patience, &response, error);
    if (r < 0)
        return r;
    if (!response->restore)
        return error_set(error, "criu-protocol", EBADMSG, "CRIU did not name the restored process");
    *ret_pid = response->restore->pid;
    return 0;
}

int criu_version(int socket, unsigned *ret_version, struct error *error)
{
    const struct patience patience = {.seconds = 30, .watch = -1};
    CLEANUP(free_response) Criu__Response *response = NULL;
    Criu__Request request = CRIU__REQUEST__INIT;
    int r;

    request.type = CRIU__REQUEST_TYPE__VERSION;
    r = converse(socket, &request, NULL, NULL, "describe", &patience, &response, error);
    if (r < 0)
        return r;
    if (!response->version)
        return error_set(error, "criu-protocol", EBADMSG, "CRIU did not tell its version");
    *ret_version = (unsigned)response->version->major_number * 10000 +
                   (unsigned)response->version->minor_number * 100 +
                   (response->version->has_sublevel ? (unsigned)response->version->sublevel : 0);
    return 0;
}
