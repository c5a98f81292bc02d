/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads frozen inside blocking calls. A restore must put each back to sleep in
 * its call. Those which the kernel continues by a restart block (poll, calls with
 * an end time) may say EINTR, as after SIGSTOP and SIGCONT in old kernels, since
 * nobody but the kernel can set one; the others must not be seen to return.
 */
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sockets.h"

static int wait_read(int fd)
{
    uint64_t number;

    return read(fd, &number, sizeof(number)) == (ssize_t)sizeof(number) ? 0 : -errno;
}

static int wait_poll(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int r;

    do {
        r = poll(&poll_fd, 1, -1);
    } while (r < 0 && errno == EINTR);
    return r == 1 ? wait_read(fd) : -errno;
}

static int wait_select(int fd)
{
    fd_set set;

    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, NULL) == 1 ? wait_read(fd) : -errno;
}

static int wait_epoll(int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int r;

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    /* epoll_wait is never restarted by the kernel; its callers know EINTR. */
    do {
        r = epoll_wait(epoll, &event, 1, -1);
    } while (r < 0 && errno == EINTR);
    (void)close(epoll);
    return r == 1 ? wait_read(fd) : -errno;
}

static int wait_poll_timed(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int r;

    do {
        r = poll(&poll_fd, 1, 3600 * 1000);
    } while (r < 0 && errno == EINTR);
    return r == 1 ? wait_read(fd) : -errno;
}

static struct call {
    const char *name;
    int (*wait)(int fd);
    int fd;
    atomic_uint_fast64_t returned;
    atomic_int result;
    pthread_t thread;
} calls[] = {
    {.name = "read", .wait = wait_read},
    {.name = "poll", .wait = wait_poll},
    {.name = "select", .wait = wait_select},
    {.name = "epoll_wait", .wait = wait_epoll},
    {.name = "poll with an end time", .wait = wait_poll_timed},
};

static void *run(void *arg)
{
    struct call *call = arg;

    for (;;) {
        int r = call->wait(call->fd);

        if (r < 0)
            atomic_store(&call->result, r);
        atomic_fetch_add(&call->returned, 1);
    }
    return NULL;
}

static uint32_t futex_word;
static atomic_uint_fast64_t futex_returned;
static atomic_int futex_result;

static void *run_futex(void *arg)
{
    uint32_t seen = 0;

    (void)arg;
    for (;;) {
        long r = syscall(SYS_futex, &futex_word, FUTEX_WAIT, seen, NULL, NULL, 0);

        if (r < 0 && errno != EAGAIN)
            atomic_store(&futex_result, -errno);
        seen++;
        atomic_fetch_add(&futex_returned, 1);
    }
    return NULL;
}

static int setup(void)
{
    static pthread_t futex_thread;

    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        MUST(calls[i].fd = eventfd(0, EFD_CLOEXEC), "eventfd");
        PASS_ON(-pthread_create(&calls[i].thread, NULL, run, &calls[i]));
    }
    return -pthread_create(&futex_thread, NULL, run_futex, NULL);
}

static int wait_returned(const char *name, atomic_uint_fast64_t *counter, uint64_t n)
{
    for (unsigned int ms = 0; ms < TIMEOUT_MS && atomic_load(counter) < n; ms++)
        (void)sleep_ms(1);
    EQUAL(name, n, atomic_load(counter));
    return 0;
}

static int check_call(struct call *call, uint64_t n)
{
    uint64_t one = 1;

    EQUAL(call->name, n - 1, atomic_load(&call->returned));
    EQUAL(call->name, 0, atomic_load(&call->result));
    MUST(write(call->fd, &one, sizeof(one)), "write");
    return wait_returned(call->name, &call->returned, n);
}

static int check(uint64_t n)
{
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        PASS_ON(check_call(&calls[i], n));
    EQUAL("futex", n - 1, atomic_load(&futex_returned));
    __atomic_fetch_add(&futex_word, 1, __ATOMIC_SEQ_CST);
    MUST(syscall(SYS_futex, &futex_word, FUTEX_WAKE, 1, NULL, NULL, 0), "FUTEX_WAKE");
    PASS_ON(wait_returned("futex", &futex_returned, n));
    EQUAL("futex", 0, atomic_load(&futex_result));
    return 0;
}

const struct workload_kind kind_blocked_calls = {
    .name = "blocked-calls",
    .description = "threads blocked in read, poll, select, epoll_wait, futex",
    .setup = setup,
    .check = check,
};
