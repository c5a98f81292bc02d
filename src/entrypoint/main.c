/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore-entrypoint (smart-entrypoint): the first process of a container that a snapshot is
 * restored into. It restores by itself where the container may, or waits for an agent that does,
 * and is then the first process of what was restored towards the runtime: signals in, exit status
 * out. Whatever goes wrong before, it becomes the command that it was given
 * (man/restore-entrypoint.1). Static: it needs nothing of the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "entrypoint/adopted.h"
#include "entrypoint/cold-start.h"
#include "entrypoint/control.h"
#include "entrypoint/debug.h"
#include "entrypoint/decision.h"
#include "entrypoint/here.h"
#include "entrypoint/say.h"
#include "entrypoint/settings.h"
#include "entrypoint/signals.h"
#include "entrypoint/stale.h"

enum {
    LOOK_MSEC = 100,   /* nothing announces a living child that is adopted */
    STORE_MSEC = 500,  /* nor, on a network file system, a file that another machine makes */
    NEAR_SECONDS = 10, /* for a restore that is under way when an end is asked for */
    TRIGGER_MAXIMUM = 1 << 16,
    STATUS_USAGE = 2,
};

static const char usage[] =
    "usage: restore-entrypoint [--wait SECONDS] [--] [COMMAND [ARGUMENT...]]\n"
    "       smart-entrypoint [--] [COMMAND [ARGUMENT...]]\n"
    "The first process of a container that a snapshot is restored into. Restores the snapshot\n"
    "$DYN_CHECKPOINT_HASH by itself where the container is privileged, or waits for an agent to\n"
    "do it ($RESTORE_WAIT_TIMEOUT seconds, default 300, 0: for ever); then it passes signals to\n"
    "the restored program and ends as it does. Without a restore it becomes COMMAND.\n"
    "smart-entrypoint does so at once when there is no snapshot. See restore-entrypoint(1).\n";

struct entrypoint {
    bool smart;
    struct settings settings;
    char **command; /* ends with NULL; may be empty */
    char *obstacle; /* why this container can't restore by itself; NULL: it can */
    struct control control;
    struct stale trigger;
    struct snapshot_place place;
    sigset_t waited;
    sigset_t before;
};

static bool is_smart(const char *program)
{
    const char *slash = program ? strrchr(program, '/') : NULL;
    const char *name = slash ? slash + 1 : program;

    return text_equal(name, "smart-entrypoint") || text_equal(name, "smart-entrypoint.sh");
}

static int bad_usage(const char *what, const char *word)
{
    say("%s%s", what, word);
    (void)fputs(usage, stderr);
    return STATUS_USAGE;
}

/* -1, or the status to end with. To smart-entrypoint every word is the command's, as it always
 * was. */
static int parse(struct entrypoint *self, char **arguments)
{
    while (!self->smart && *arguments && **arguments == '-') {
        if (text_equal(*arguments, "--"))
            break;
        if (text_equal(*arguments, "--help")) {
            (void)fputs(usage, stdout);
            return 0;
        }
        if (!text_equal(*arguments, "--wait"))
            return bad_usage("unknown option ", *arguments);
        if (!arguments[1] || settings_parse_seconds(arguments[1], &self->settings.wait_seconds) < 0)
            return bad_usage("--wait takes a number of seconds, 0 for no end", "");
        arguments += 2;
    }
    self->command = arguments + text_equal(*arguments, "--");
    return -1;
}

/* Somebody who debugs wants to see the container as the failure has left it. */
static int fall_back(const struct entrypoint *self, const char *reason)
{
    int number = 0;

    say("%s", reason);
    if (self->settings.debug) {
        debug_describe(&self->before);
        number = debug_pause(&self->waited);
    }
    if (number)
        return 128 + number;
    say("Falling back to cold start: %s", reason);
    cold_start_forget();
    return cold_start(&self->settings, self->command, &self->before);
}

enum outcome { RESTORED, TIMED_OUT, FAILED, TOLD_TO_END };

struct end {
    pid_t first; /* RESTORED */
    int signal;  /* that asked for an end; 0: none */
    char *reason;
};

/* Nothing of a restore may be lost because of a timeout that comes in the middle of it. */
static bool is_out_of_time(const struct entrypoint *self, uint64_t start)
{
    return self->settings.wait_seconds > 0 &&
           clock_seconds_since(start) >= self->settings.wait_seconds && !adopted_is_near();
}

/* RESTORE_TRIGGER: a file that names the directory of a snapshot, written while we wait. */
static bool is_triggered(const struct entrypoint *self, struct snapshot_place *ret_place)
{
    CLEANUP(free_ptr) char *text = NULL;

    if (!stale_is_new(&self->trigger, self->settings.trigger) ||
        file_read(AT_FDCWD, self->settings.trigger, TRIGGER_MAXIMUM, &text, NULL) < 0)
        return false;
    return snapshot_place_parse(text, ret_place) == 0;
}

/* Whether the snapshot that was named, or one that is named now, is complete. */
static bool has_come(struct entrypoint *self)
{
    CLEANUP(free_ptr) char *reason = NULL;
    struct snapshot_place triggered = {0};

    if (is_triggered(self, &triggered)) {
        if (snapshot_is_there(&triggered, &reason)) {
            snapshot_place_done(&self->place);
            self->place = triggered;
            return true;
        }
        snapshot_place_done(&triggered);
        free(STEAL_PTR(reason));
    }
    return self->place.id && snapshot_is_there(&self->place, &reason);
}

static enum outcome restore_here(struct entrypoint *self, struct end *end)
{
    say("restoring %s/%s in this container", self->place.root, self->place.id);
    settings_explain(&self->settings);
    (void)unlink(SETTINGS_CRIU_LOG);
    switch (here_restore(&self->settings, &self->place, &self->waited, &self->before, &end->reason,
                         &end->signal)) {
    case HERE_TOLD_TO_END:
        return TOLD_TO_END;
    case HERE_RESTORED:
        break;
    case HERE_FAILED:
        end->first = adopted_find(0);
        return end->first > 0 ? RESTORED : FAILED;
    }
    end->first = adopted_find(0);
    if (end->first == 0)
        end->first = adopted_reap(0);
    if (end->first > 0)
        return RESTORED;
    end->reason = text_copy("The restore succeeded, but its first process is not here");
    return FAILED;
}

static bool is_adopted(const struct entrypoint *self, pid_t *ret_first)
{
    pid_t named = control_restored(&self->control);

    *ret_first = adopted_find(named);
    if (*ret_first == 0)
        *ret_first = adopted_reap(named);
    return *ret_first > 0;
}

static bool has_failed(const struct entrypoint *self, struct end *end)
{
    CLEANUP(free_ptr) char *why = control_failure(&self->control);

    if (!why)
        return false;
    end->reason = text_format("The restore failed, says the agent: %s", why);
    return true;
}

static enum outcome wait_in_turns(struct entrypoint *self, struct end *end)
{
    const struct timespec pause = {.tv_nsec = LOOK_MSEC * 1000000L};
    uint64_t start = clock_now_usec(), told = 0;

    for (unsigned round = 0;; round++) {
        int number;

        if (is_adopted(self, &end->first))
            return RESTORED;
        if (end->signal && (!adopted_is_near() || clock_seconds_since(told) > NEAR_SECONDS))
            return TOLD_TO_END;
        if (has_failed(self, end))
            return FAILED;
        if (!self->obstacle && !end->signal && round % (STORE_MSEC / LOOK_MSEC) == 0 &&
            has_come(self))
            return restore_here(self, end);
        if (is_out_of_time(self, start))
            return TIMED_OUT;
        number = sigtimedwait(&self->waited, NULL, &pause);
        if (signal_asks_for_an_end(number)) {
            end->signal = number;
            told = clock_now_usec();
        }
    }
}

/* An agent restores only into a container whose first process says by its name that it waits for
 * one: not where it restores by itself, nor where the command was started already. */
static enum outcome wait_for_restore(struct entrypoint *self, struct end *end)
{
    enum outcome outcome;

    (void)prctl(PR_SET_NAME, self->obstacle ? ENTRYPOINT_WAITS : ENTRYPOINT_ALONE);
    outcome = wait_in_turns(self, end);
    (void)prctl(PR_SET_NAME, ENTRYPOINT_ALONE);
    return outcome;
}

static int status_of(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* Returns whether the first one has ended. */
static bool reap_all(pid_t first, int *ret_status)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
        if (pid == first) {
            *ret_status = status_of(status);
            return true;
        }
    }
    return false;
}

/* The first process of a pid namespace can't be ended by a signal from within: so a number is how
 * it tells of one. */
static int serve(const struct entrypoint *self, pid_t first)
{
    int status = 0;

    while (!reap_all(first, &status)) {
        int number = sigwaitinfo(&self->waited, NULL);

        if (number > 0 && number != SIGCHLD)
            (void)kill(first, number);
    }
    return status;
}

/* Why there was nothing for so long. */
static char *reason_of_timeout(const struct entrypoint *self)
{
    CLEANUP(free_ptr) char *more = NULL;

    if (self->obstacle)
        return text_format("No restore within %d seconds. It had to be done by an agent: %s",
                           self->settings.wait_seconds, self->obstacle);
    if (self->place.id)
        (void)snapshot_is_there(&self->place, &more);
    return text_format("No restore within %d seconds%s%s", self->settings.wait_seconds,
                       more ? ": " : "", more ? more : "");
}

static int wait_and_serve(struct entrypoint *self)
{
    struct end end = {0};
    int status;

    switch (wait_for_restore(self, &end)) {
    case RESTORED:
        say("restored; process %d goes on", (int)end.first);
        free(end.reason);
        if (end.signal) /* it came when the restored ones ran, and were not given to us yet */
            (void)kill(end.first, end.signal);
        return serve(self, end.first);
    case TOLD_TO_END:
        say("told to end before a restore came");
        return 128 + end.signal;
    case FAILED:
        break;
    case TIMED_OUT:
        end.reason = reason_of_timeout(self);
        break;
    }
    status = fall_back(self, end.reason);
    free(end.reason);
    return status;
}

/* What smart-entrypoint, or SKIP_WAIT_FOR_CHECKPOINT, asks: look once. -1: go on to a restore. */
static int look_once(const struct entrypoint *self)
{
    CLEANUP(free_ptr) char *reason = NULL;
    bool wait = decision_make(&self->settings, &reason);

    say("%s: %s", wait ? "a restore is expected" : "cold start", reason);
    return wait ? -1 : cold_start(&self->settings, self->command, &self->before);
}

/* Who restores, this container or an agent, and why. */
static void choose_way(struct entrypoint *self)
{
    CLEANUP(free_ptr) char *reason = NULL;

    self->obstacle = here_obstacle(&self->settings);
    if (snapshot_place_named(&self->settings, &self->place, &reason) < 0 && !self->obstacle)
        say("%s; a restore waits for the file %s", reason, self->settings.trigger);
    if (self->obstacle)
        say("waiting for a restore by an agent: %s", self->obstacle);
    else
        say("waiting for a restore, by this container itself when the snapshot is there");
}

int main(int argc, char **argv)
{
    struct entrypoint self = {.smart = is_smart(argc > 0 ? argv[0] : NULL)};
    int status;

    settings_read(&self.settings);
    status = parse(&self, argv + (argc > 0));
    if (status >= 0)
        return status;
    signals_of_others(&self.waited);
    /* A first process takes no signal that it has no handler for, unless it is blocked. */
    (void)sigprocmask(SIG_BLOCK, &self.waited, &self.before);
    if (self.smart || self.settings.skip_wait) {
        status = look_once(&self);
        if (status >= 0)
            return status;
    }
    if (getpid() != 1)
        return fall_back(&self, "This is not the container's first process: nothing can be "
                                "restored to it");
    if (!adopted_can_be_told())
        return fall_back(&self, "There is no /proc");
    cold_start_clean(&self.settings);
    self.control = control_open();
    self.trigger = stale_note(self.settings.trigger);
    choose_way(&self);
    return wait_and_serve(&self);
}
