/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/worker-server.h"

#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cuda/thread-id.h"

void worker_track_add(struct worker_server *server, const struct cuda_process *process)
{
    struct worker_track *longer;

    for (size_t i = 0; i < server->track_count; i++) {
        if (server->tracks[i].process.pid == process->pid)
            return;
    }
    longer = allocate((server->track_count + 1) * sizeof *longer);
    if (server->track_count > 0)
        memcpy(longer, server->tracks, server->track_count * sizeof *longer);
    free(server->tracks);
    server->tracks = longer;
    server->tracks[server->track_count++] =
        (struct worker_track){.process = *process, .pidfd = pidfd_of(process->pid)};
}

static void track_drop(struct worker_server *server, size_t index)
{
    close_fd(&server->tracks[index].pidfd);
    server->tracks[index] = server->tracks[--server->track_count];
}

void worker_track_remove(struct worker_server *server, pid_t pid)
{
    for (size_t i = 0; i < server->track_count; i++) {
        if (server->tracks[i].process.pid == pid) {
            track_drop(server, i);
            return;
        }
    }
}

void worker_track_remove_all(struct worker_server *server)
{
    while (server->track_count > 0)
        track_drop(server, server->track_count - 1);
    free(server->tracks);
    server->tracks = NULL;
}

int worker_roll_back(struct worker_server *server, struct error *error)
{
    int first = 0;

    for (size_t i = server->track_count; i-- > 0;) {
        struct worker_track *track = &server->tracks[i];
        struct error inner = ERROR_INIT;
        int result = 0;

        if (track->pidfd < 0 || !pidfd_ended(track->pidfd))
            result = cuda_bring_back(&server->driver, track->process.pid, &inner);
        /* What failed because the process ended meanwhile has not failed. */
        if (result < 0 && track->pidfd >= 0 && pidfd_ended(track->pidfd))
            result = 0;
        if (result == 0)
            track_drop(server, i);
        if (result < 0 && first == 0) {
            first = result;
            error_move(error, &inner);
        }
        error_done(&inner);
    }
    return first;
}
