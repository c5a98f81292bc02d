/* SPDX-License-Identifier: Apache-2.0 */
/* nsrestore: the part of a restore into a container that happens in its namespaces
 * (container/nsrestore.h). Static, so that it needs nothing of the image nor of the host. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/text.h"
#include "nsrestore/place.h"
#include "nsrestore/plan.h"
#include "nsrestore/reaper.h"
#include "proc/ending.h"

static const char usage[] =
    "usage: nsrestore --plan FD\n"
    "Restores a snapshot into the namespaces of a running container. It is started by snapshotctl\n"
    "and snapshot-agent, which hand it descriptors and a plan; it prints one JSON object.\n";

struct nsrestore {
    struct plan plan;
    struct place place;
    struct reaper reaper;
    pid_t first; /* of the restored processes, as the host counts; 0: not there yet */
    bool released;
    unsigned ended;
};

static int start(struct nsrestore *self, struct error *error)
{
    int r = place_enter(&self->plan, &self->place, error);

    if (r == 0)
        r = fault_point("nsrestore-entered", error);
    self->plan.criu.mount_namespace = self->place.mounts;
    self->plan.criu.load_namespace = self->place.host_mounts;
    if (r == 0)
        r = reaper_start(&self->plan.criu, self->plan.carrier, &self->reaper, error);
    close_fd(&self->plan.carrier);
    return r;
}

static json_t *error_json(const struct error *error)
{
    return json_pack("{ss si ss}", "code", error->code ? error->code : "system", "number",
                     error->number, "message", error->message ? error->message : "");
}

static void answer(const struct nsrestore *self, int result, const struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    json_t *object = NULL;

    if (result < 0) {
        object = error_json(error);
        text = json_dumps(object, JSON_COMPACT);
        json_decref(object);
    }
    (void)send(self->plan.control, text ? text : NSRESTORE_OK,
               text ? strlen(text) : strlen(NSRESTORE_OK), MSG_NOSIGNAL);
}

static int obey(struct nsrestore *self, const char *message, struct error *error)
{
    int pid, r;

    if (text_equal(message, NSRESTORE_RELEASE)) {
        r = fault_point("nsrestore-release", error);
        self->released = r == 0;
        return r;
    }
    if (text_starts_with(message, NSRESTORE_PROC) &&
        text_to_int(message + strlen(NSRESTORE_PROC), &pid) == 0) {
        r = fault_point("nsrestore-proc", error);
        self->first = pid;
        return r < 0 ? r : place_mount_proc(&self->place, pid, error);
    }
    return error_set(error, "usage", EINVAL, "Unknown message");
}

/* A CRIU that has failed kills the first process of the new pid namespace and waits for its end,
 * which has to wait for others that only CRIU, as their tracer, can reap. */
enum { STUCK_STEP_MSEC = 200, STUCK_ROUNDS = 10 };

/* Ended, and no more than a zombie: that is what programs do. */
static bool is_zombie(const struct nsrestore *self)
{
    CLEANUP(free_ptr) char *path = text_format("%d/stat", (int)self->first);
    CLEANUP(free_ptr) char *text = NULL;
    const char *after;

    if (file_read(self->place.proc, path, 4096, &text, NULL) < 0)
        return true;
    after = strrchr(text, ')');
    return after && after[1] == ' ' && after[2] == 'Z';
}

/* The reaper has no word for us: its end is what tells that CRIU has ended before it was done. The
 * processes that it left would wait for it for ever, and they hold its socket, so that who talks
 * to it does not notice. */
static int wait_for_message(const struct nsrestore *self, struct error *error)
{
    struct pollfd watched[] = {{.fd = self->plan.control, .events = POLLIN},
                               {.fd = self->reaper.line}};

    for (int stuck = 0; stuck < STUCK_ROUNDS;) {
        int n = poll(watched, 2, self->first ? STUCK_STEP_MSEC : -1);

        if (n < 0 && errno != EINTR)
            return error_set(error, "system", errno, "Can't wait for a message");
        if (n > 0)
            return watched[1].revents
                       ? error_set(error, "criu-died", ECHILD, "CRIU ended before it was done")
                       : 0;
        if (n == 0 && process_is_ending_at(self->place.proc, self->first) && !is_zombie(self))
            stuck++;
        else
            stuck = 0;
    }
    return error_set(error, "criu-failed", EDEADLK, "CRIU failed, and waits for its processes");
}

/* Until the other side is gone or has released us. */
static int serve(struct nsrestore *self, struct error *error)
{
    char message[NSRESTORE_MESSAGE_MAXIMUM];
    int r = 0;

    while (r == 0 && !self->released) {
        ssize_t n;

        r = wait_for_message(self, error);
        if (r < 0)
            return r;
        n = recv(self->plan.control, message, sizeof message - 1, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(error, "interrupted", ECONNRESET, "Nobody waits for the restore");
        message[n] = 0;
        r = obey(self, message, error);
        answer(self, r, error);
    }
    return r;
}

static void undo(struct nsrestore *self)
{
    self->ended = place_end_all(&self->place, self->reaper.pid);
    reaper_finish(&self->reaper);
}

static void print_result(const struct nsrestore *self, const struct error *error)
{
    json_t *object =
        json_pack("{sb sI sI}", "restored", (int)self->released, "mount_namespace",
                  (json_int_t)self->place.mount_inode, "processes_ended", (json_int_t)self->ended);
    CLEANUP(free_ptr) char *text = NULL;

    if (error->code)
        (void)json_object_set_new(object, "error", error_json(error));
    text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    (void)printf("%s\n", text ? text : "{}");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct nsrestore self = {.place = PLACE_INIT, .reaper = REAPER_INIT};
    struct error error = ERROR_INIT;
    int plan = -1, r;

    if (argc == 2 && text_equal(argv[1], "--help")) {
        (void)fputs(usage, stdout);
        return 0;
    }
    if (argc != 3 || !text_equal(argv[1], "--plan") || text_to_int(argv[2], &plan) < 0) {
        (void)fputs(usage, stderr);
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setsid(); /* a terminal's signals are for who started us: then we are told to undo */
    r = plan_read(plan, &self.plan, &error);
    if (r == 0)
        r = start(&self, &error);
    if (r < 0 && self.plan.json)
        answer(&self, r, &error);
    if (r == 0) {
        answer(&self, 0, &error);
        r = serve(&self, &error);
    }
    if (r < 0)
        undo(&self);
    else
        reaper_let_go(&self.reaper);
    print_result(&self, &error);
    plan_done(&self.plan);
    error_done(&error);
    return r < 0 ? 1 : 0;
}
