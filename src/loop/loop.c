/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "loop/clock.h"
#include "loop/timer-heap.h"

enum { EVENTS_AT_ONCE = 64 };

enum source_kind { SOURCE_FD, SOURCE_TIMER, SOURCE_SIGNAL, SOURCE_PROCESS };

struct loop_source {
    struct loop *loop;
    struct loop_source *next, *previous;
    enum source_kind kind;
    bool dead;                /* freed, but perhaps among events that are being handled */
    int fd;                   /* ours, except of SOURCE_FD */
    pid_t pid;                /* of SOURCE_PROCESS */
    struct timer_entry timer; /* of SOURCE_TIMER */
    void *context;
    union {
        loop_fd_function *fd;
        loop_timer_function *timer;
        loop_signal_function *signal;
        loop_process_function *process;
    } call;
};

struct loop {
    struct loop_clock clock;
    int epoll;
    int status;
    bool stopped;
    struct loop_source *sources, *dead;
    struct timer_heap timers;
};

int loop_new(const struct loop_clock *clock, struct loop **ret, struct error *error)
{
    struct loop *loop;
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll < 0)
        return error_set(error, "loop-system", errno, "Can't make an event loop");
    loop = allocate(sizeof *loop);
    loop->clock = clock ? *clock : loop_real_clock;
    loop->epoll = epoll;
    *ret = loop;
    return 0;
}

static void bury(struct loop *loop)
{
    while (loop->dead) {
        struct loop_source *source = loop->dead;

        loop->dead = source->next;
        free(source);
    }
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->sources)
        loop_source_free(loop->sources);
    bury(loop);
    timer_heap_done(&loop->timers);
    close_fd(&loop->epoll);
    free(loop);
}

uint64_t loop_now(const struct loop *loop)
{
    return loop->clock.now(loop->clock.context);
}

int64_t loop_date(const struct loop *loop)
{
    return loop->clock.date(loop->clock.context);
}

void loop_stop(struct loop *loop, int status)
{
    loop->stopped = true;
    loop->status = status;
}

static struct loop_source *add_source(struct loop *loop, enum source_kind kind, void *context,
                                      struct loop_source **ret)
{
    struct loop_source *source = allocate(sizeof *source);

    *source = (struct loop_source){
        .loop = loop, .kind = kind, .fd = -1, .context = context, .next = loop->sources};
    if (loop->sources)
        loop->sources->previous = source;
    loop->sources = source;
    if (ret)
        *ret = source;
    return source;
}

void loop_source_free(struct loop_source *source)
{
    struct loop *loop = source ? source->loop : NULL;

    if (!source || source->dead)
        return;
    source->dead = true;
    timer_heap_remove(&loop->timers, &source->timer);
    if (source->fd >= 0)
        (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    if (source->kind != SOURCE_FD)
        close_fd(&source->fd);
    if (source->next)
        source->next->previous = source->previous;
    *(source->previous ? &source->previous->next : &loop->sources) = source->next;
    source->previous = NULL;
    source->next = loop->dead;
    loop->dead = source;
}

static int watch(struct loop *loop, int fd, uint32_t events, struct loop_source *source)
{
    struct epoll_event event = {.events = events, .data.ptr = source};

    source->fd = fd;
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_function *function,
                void *context, struct loop_source **ret, struct error *error)
{
    struct loop_source *source = add_source(loop, SOURCE_FD, context, NULL);
    int r = watch(loop, fd, events, source);

    source->call.fd = function;
    if (r < 0) {
        loop_source_free(source);
        return error_set(error, "loop-system", r, "Can't wait for descriptor %d", fd);
    }
    if (ret)
        *ret = source;
    return 0;
}

void loop_source_events(struct loop_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};

    if (!source->dead)
        (void)epoll_ctl(source->loop->epoll, EPOLL_CTL_MOD, source->fd, &event);
}

void loop_add_timer(struct loop *loop, uint64_t at_usec, loop_timer_function *function,
                    void *context, struct loop_source **ret)
{
    struct loop_source *source = add_source(loop, SOURCE_TIMER, context, ret);

    source->call.timer = function;
    source->timer.at = LOOP_NEVER;
    loop_timer_set(source, at_usec);
}

void loop_timer_set(struct loop_source *source, uint64_t at_usec)
{
    if (source->dead)
        return;
    if (at_usec == LOOP_NEVER) {
        timer_heap_remove(&source->loop->timers, &source->timer);
        source->timer.at = LOOP_NEVER;
    } else {
        timer_heap_set(&source->loop->timers, &source->timer, at_usec);
    }
}

uint64_t loop_timer_at(const struct loop_source *source)
{
    return source->timer.at;
}

/* Gives a source a descriptor of its own; on failure neither is left. */
static int own(struct loop_source *source, int fd, const char *what, struct error *error)
{
    int r = fd < 0 ? -errno : watch(source->loop, fd, EPOLLIN, source);

    if (r < 0) {
        loop_source_free(source);
        return error_set(error, "loop-system", r, "Can't wait for %s", what);
    }
    return 0;
}

int loop_add_signal(struct loop *loop, int number, loop_signal_function *function, void *context,
                    struct loop_source **ret, struct error *error)
{
    struct loop_source *source = add_source(loop, SOURCE_SIGNAL, context, NULL);
    sigset_t set;
    int r;

    source->call.signal = function;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, number);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    r = own(source, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "a signal", error);
    if (r == 0 && ret)
        *ret = source;
    return r;
}

int loop_add_process(struct loop *loop, pid_t pid, loop_process_function *function, void *context,
                     struct loop_source **ret, struct error *error)
{
    struct loop_source *source = add_source(loop, SOURCE_PROCESS, context, NULL);
    int r;

    source->call.process = function;
    source->pid = pid;
    r = own(source, (int)syscall(SYS_pidfd_open, pid, 0), "a process", error);
    if (r == 0 && ret)
        *ret = source;
    return r;
}

static void dispatch_signal(struct loop_source *source)
{
    struct signalfd_siginfo info;

    if (read(source->fd, &info, sizeof info) == (ssize_t)sizeof info)
        source->call.signal(source, &info, source->context);
}

/* The source has done its work with the one call, but stays until it is freed. */
static void dispatch_process(struct loop_source *source)
{
    int status = 0;
    pid_t pid = waitpid(source->pid, &status, WNOHANG);

    if (pid == 0)
        return;
    (void)epoll_ctl(source->loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    close_fd(&source->fd);
    source->call.process(source, source->pid, pid < 0 ? 0 : status, source->context);
}

static void dispatch(const struct epoll_event *event)
{
    struct loop_source *source = event->data.ptr;

    if (source->dead)
        return;
    switch (source->kind) {
    case SOURCE_FD:
        source->call.fd(source, source->fd, event->events, source->context);
        break;
    case SOURCE_SIGNAL:
        dispatch_signal(source);
        break;
    case SOURCE_PROCESS:
        dispatch_process(source);
        break;
    case SOURCE_TIMER:
        break;
    }
}

static struct loop_source *source_of(struct timer_entry *entry)
{
    return (struct loop_source *)(void *)((char *)entry - offsetof(struct loop_source, timer));
}

/* What timers set for now while these run waits for the next round, so that descriptors get their
 * turn. */
static bool run_timers(struct loop *loop)
{
    uint64_t now = loop_now(loop), until = loop->timers.orders;
    struct timer_entry *entry;
    bool ran = false;

    while (!loop->stopped && (entry = timer_heap_first(&loop->timers)) != NULL &&
           entry->at <= now && entry->order < until) {
        struct loop_source *source = source_of(entry);

        timer_heap_remove(&loop->timers, entry);
        entry->at = LOOP_NEVER;
        source->call.timer(source, now, source->context);
        ran = true;
    }
    return ran;
}

static bool poll_once(struct loop *loop, int timeout)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(loop->epoll, events, EVENTS_AT_ONCE, timeout);

    /* What is left when the loop is stopped comes again: events are levels. */
    for (int i = 0; i < count && !loop->stopped; i++)
        dispatch(&events[i]);
    return count > 0;
}

/* In milliseconds, rounded up, so that a timer is due when the wait is over. */
static int time_to_wait(const struct loop *loop)
{
    const struct timer_entry *first = timer_heap_first(&loop->timers);
    uint64_t now = loop_now(loop), left;

    if (!first)
        return -1;
    if (first->at <= now)
        return 0;
    left = (first->at - now) / 1000 + ((first->at - now) % 1000 != 0);
    return left > INT_MAX ? INT_MAX : (int)left;
}

static bool turn(struct loop *loop, int timeout)
{
    bool ran = poll_once(loop, timeout);

    ran |= run_timers(loop);
    bury(loop);
    return ran;
}

bool loop_step(struct loop *loop)
{
    loop->stopped = false;
    return turn(loop, 0);
}

/* Lets a virtual clock go on to the next event; whether there is one. */
static bool jump_ahead(struct loop *loop)
{
    const struct timer_entry *first = timer_heap_first(&loop->timers);

    if (first)
        loop->clock.jump(first->at, loop->clock.context);
    return first != NULL;
}

int loop_run(struct loop *loop)
{
    loop->stopped = false;
    loop->status = 0;
    while (!loop->stopped && loop->sources) {
        if (!loop->clock.jump)
            (void)turn(loop, time_to_wait(loop));
        else if (!turn(loop, 0) && !loop->stopped && !jump_ahead(loop))
            break;
    }
    return loop->status;
}
