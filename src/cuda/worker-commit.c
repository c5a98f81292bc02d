/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of processes whose snapshot was committed. CRIU ends them, unless its owner died (or
 * changed its mind) before it had answered CRIU: then they run again, and need their GPU state.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "cuda/thread-id.h"
#include "cuda/worker-server.h"

enum { END_PATIENCE_USEC = 1000 * 1000, STEP_MSEC = 5, EXITING = 4 /* PF_EXITING of the kernel */ };

/* Field 9 of proc_pid_stat(5), counted from behind the name, which may contain anything. */
static bool is_exiting(int tasks, const char *tid)
{
    CLEANUP(free_ptr) char *path = text_format("%s/stat", tid);
    CLEANUP(free_ptr) char *text = NULL;
    const char *rest;
    unsigned flags = 0;

    if (file_read(tasks, path, 4096, &text, NULL) < 0)
        return true;
    rest = strrchr(text, ')');
    return !rest || sscanf(rest, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1 || flags & EXITING;
}

static bool has_kill_pending(int tasks, const char *tid)
{
    static const char *const names[] = {"SigPnd:", "ShdPnd:"};
    CLEANUP(free_ptr) char *path = text_format("%s/status", tid);
    CLEANUP(free_ptr) char *text = NULL;

    if (file_read(tasks, path, 65536, &text, NULL) < 0)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = strstr(text, names[i]);

        if (value && strtoull(value + strlen(names[i]), NULL, 16) >> (SIGKILL - 1) & 1)
            return true;
    }
    return false;
}

/* Giving back a lot of memory takes long, so a killed process may be seen for a while. */
static bool is_ending(const struct worker_track *track)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/task", (int)track->process.pid);
    CLEANUP(close_directory) DIR *tasks = opendir(path);
    const struct dirent *entry;
    bool lives = false;

    if (!tasks || (track->pidfd >= 0 && pidfd_ended(track->pidfd)))
        return true;
    while (!lives && (entry = readdir(tasks))) {
        lives = entry->d_name[0] != '.' && !is_exiting(dirfd(tasks), entry->d_name) &&
                !has_kill_pending(dirfd(tasks), entry->d_name);
    }
    return !lives;
}

static void forget_ending(struct worker_server *server)
{
    for (size_t i = server->track_count; i-- > 0;) {
        if (is_ending(&server->tracks[i]))
            worker_track_remove(server, server->tracks[i].process.pid);
    }
}

int worker_conclude(struct worker_server *server, struct error *error)
{
    uint64_t deadline = clock_now_usec() + END_PATIENCE_USEC;

    forget_ending(server);
    while (server->committed && server->track_count > 0 && clock_now_usec() < deadline) {
        clock_sleep_msec(STEP_MSEC);
        forget_ending(server);
    }
    return worker_roll_back(server, error);
}
