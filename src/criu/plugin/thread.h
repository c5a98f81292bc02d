/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letting one thread of a stopped task run: the restore thread, to which the driver hands its
 * requests. All ptrace calls have to come from CRIU's own thread, the tracer.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct resumed_thread {
    pid_t tid;     /* 0: it was not stopped by us and runs anyway */
    uint64_t mask; /* of signals, to be put back */
};

/* Blocks its signals (all but SIGTRAP) and lets it run, under its own seccomp filters. 0 or a
 * negative errno; a thread that is not traced is success with tid 0. */
int thread_resume(pid_t tid, struct resumed_thread *ret_thread);

/* Keeps it running: to be called now and then while it should run. -ESRCH when it has ended. */
int thread_keep_running(const struct resumed_thread *thread);

/* Stops it again and puts things back as they were. */
int thread_stop(const struct resumed_thread *thread);
