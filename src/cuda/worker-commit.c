/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of processes whose snapshot was committed. CRIU ends them, unless its owner died (or
 * changed its mind) before it had answered CRIU: then they run again, and need their GPU state.
 */
#include "basic/clock.h"
#include "cuda/thread-id.h"
#include "cuda/worker-server.h"
#include "proc/ending.h"

enum { END_PATIENCE_USEC = 1000 * 1000, STEP_MSEC = 5 };

static void forget_ending(struct worker_server *server)
{
    for (size_t i = server->track_count; i-- > 0;) {
        const struct worker_track *track = &server->tracks[i];

        if ((track->pidfd >= 0 && pidfd_ended(track->pidfd)) ||
            process_is_ending(track->process.pid))
            worker_track_remove(server, track->process.pid);
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
