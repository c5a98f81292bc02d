/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the worker: what its parts (requests, plugin channel, roll back) share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cuda/action.h"
#include "cuda/worker-protocol.h"

enum worker_plugin_role {
    WORKER_PLUGIN_NONE,
    WORKER_PLUGIN_FOR_CAPTURE,
    WORKER_PLUGIN_FOR_RESTORE
};

/* A process that was locked or checkpointed here and has to be brought back if it lives on. */
struct worker_track {
    struct cuda_process process;
    int pidfd;
};

/* A conversation with the plugin inside one CRIU. */
struct worker_plugin {
    enum worker_plugin_role role;
    int socket;
    int criu;                       /* pidfd of CRIU, from its first message; or -1 */
    struct cuda_process *processes; /* capture: by host pid; restore: pid = inner pid */
    size_t count;
    bool *moved;
    struct cuda_device_map map;
    bool introduced, finished, verdict_given, over;
    bool criu_failed; /* by its own account; it reports that elsewhere */
    struct pid_levels *criu_levels;
    struct error error; /* the first that went wrong */
    double seconds;
    /* the restore thread that CRIU let run last, and the signal mask it had */
    pid_t mask_tid;
    uint64_t mask;
};

struct worker_server {
    struct cuda_driver driver;
    int owner;       /* socket; -1 once the owner is gone */
    int owner_pidfd; /* or -1 */
    struct worker_track *tracks;
    size_t track_count;
    bool committed;
    struct worker_plugin plugin;
    bool result_wanted; /* the owner waits for the answer to WORKER_PLUGIN_RESULT */
    uint64_t result_deadline_usec;
};

/* worker-server.c: the work of the leaf. */
int worker_serve(int socket, void *context);
bool worker_owner_gone(struct worker_server *server);

/* worker-track.c */
void worker_track_add(struct worker_server *server, const struct cuda_process *process);
void worker_track_remove(struct worker_server *server, pid_t pid);
void worker_track_remove_all(struct worker_server *server);
/* Brings every tracked process back to running; those that could not be stay tracked. */
int worker_roll_back(struct worker_server *server, struct error *error);

/* worker-commit.c: CRIU has ended, or there was none. The same, but what was committed gets the
 * time to end first. */
int worker_conclude(struct worker_server *server, struct error *error);

/* worker-plugin.c */
/* Makes the socket pair; `ret_far` is CRIU's end. */
int worker_plugin_start(struct worker_server *server, enum worker_plugin_role role,
                        const struct cuda_process *processes, size_t count,
                        struct cuda_device_map *map, int *ret_far, struct error *error);
/* Answers what is waiting on the socket. */
void worker_plugin_serve(struct worker_server *server);
/* Has every announced process been checkpointed or restored? */
bool worker_plugin_all_moved(const struct worker_plugin *plugin);
/* CRIU has ended (or is said to have): settles what is left. */
void worker_plugin_end(struct worker_server *server);
void worker_plugin_done(struct worker_plugin *plugin);
