/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop for one thread: descriptors, timers, signals and child processes, over epoll(7),
 * signalfd(2) and pidfd_open(2). Its clock can be replaced, so that everything that is written
 * against it also runs in a simulation, where an hour takes no time and every run is the same.
 *
 * Functions are called from loop_run() only, one at a time. A source may be freed at any time, also
 * in its own function and in that of another source; it is not called again after that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include "basic/error.h"

struct loop;
struct loop_source;

/* Where a loop gets its time from. */
struct loop_clock {
    uint64_t (*now)(void *context); /* microseconds, never going back */
    int64_t (*date)(void *context); /* microseconds since 1970 */

    /* NULL: the loop sleeps until something happens. Otherwise it never sleeps: when no descriptor
     * is ready it lets the clock jump to the next timer. */
    void (*jump)(uint64_t to_usec, void *context);
    void *context;
};

/* A clock for simulations, which stands still between events. The variable has to live as long as
 * the loop. */
struct virtual_clock {
    uint64_t now_usec;
    int64_t date_usec; /* when now_usec was 0 */
};

struct loop_clock virtual_clock_of(struct virtual_clock *clock);

/* NULL: CLOCK_MONOTONIC and CLOCK_REALTIME. Fails with "loop-system" when the kernel gives no
 * descriptor. */
int loop_new(const struct loop_clock *clock, struct loop **ret, struct error *error);

/* Frees the sources that are left, too. Not to be called by a function of the loop. */
void loop_free(struct loop *loop);

/* Runs until loop_stop() and returns its status; also returns, with 0, when there is no source
 * left, or, with a clock that jumps, when nothing can happen any more. May run again after that. */
int loop_run(struct loop *loop);

/* Lets loop_run() return once the function that is running has returned. */
void loop_stop(struct loop *loop, int status);

/* Runs what is due now, and returns without waiting: whether anything ran. */
bool loop_step(struct loop *loop);

/* Microseconds of the loop's clock, never going back. */
uint64_t loop_now(const struct loop *loop);

/* Microseconds since 1970. */
int64_t loop_date(const struct loop *loop);

/* `events`: of epoll_ctl(2). */
typedef void loop_fd_function(struct loop_source *source, int fd, uint32_t events, void *context);

/* The descriptor stays the caller's, who frees the source before closing it. `ret` may be NULL when
 * the source is to live as long as the loop; this holds for all kinds. "loop-system" */
int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_function *function,
                void *context, struct loop_source **ret, struct error *error);

/* Changes what is waited for; 0 events: only EPOLLERR and EPOLLHUP. */
void loop_source_events(struct loop_source *source, uint32_t events);

#define LOOP_NEVER UINT64_MAX

typedef void loop_timer_function(struct loop_source *source, uint64_t now_usec, void *context);

/* Calls once, at or after `at_usec` of loop_now() (0: as soon as the loop runs; LOOP_NEVER: when
 * loop_timer_set() says so). Timers of the same time run in the order in which they were set. The
 * source stays and can be set again. */
void loop_add_timer(struct loop *loop, uint64_t at_usec, loop_timer_function *function,
                    void *context, struct loop_source **ret);

/* Another time for a timer, whether it has run or not. */
void loop_timer_set(struct loop_source *source, uint64_t at_usec);

/* When it will run; LOOP_NEVER when it has run. */
uint64_t loop_timer_at(const struct loop_source *source);

typedef void loop_signal_function(struct loop_source *source, const struct signalfd_siginfo *info,
                                  void *context);

/* Blocks the signal for this process (children that are to have it unblocked do that before they
 * execute a program) and calls the function for each. It stays blocked when the source is freed. */
int loop_add_signal(struct loop *loop, int number, loop_signal_function *function, void *context,
                    struct loop_source **ret, struct error *error);

/* `status` as waitpid(2) gives it. */
typedef void loop_process_function(struct loop_source *source, pid_t pid, int status,
                                   void *context);

/* Waits for the end of a child of this process and takes it from the table of processes; the
 * function is called once. Freeing the source earlier leaves the child to its parent. */
int loop_add_process(struct loop *loop, pid_t pid, loop_process_function *function, void *context,
                     struct loop_source **ret, struct error *error);

/* NULL is accepted. */
void loop_source_free(struct loop_source *source);
