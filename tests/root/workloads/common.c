/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct workload_args arguments;

static char message[512];

static void vset_message(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static void vset_message(const char *format, va_list args)
{
    /* The first failure is the cause; what follows are its consequences. */
    if (message[0] == '\0')
        (void)vsnprintf(message, sizeof(message), format, args);
}

int fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vset_message(format, args);
    va_end(args);
    return -EBADMSG;
}

int fail_errno(const char *what)
{
    int error = errno != 0 ? errno : EIO;

    (void)fail("%s: %s", what, strerror(error));
    return -error;
}

int skip_kind(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vset_message(format, args);
    va_end(args);
    return -EOPNOTSUPP;
}

const char *failure_message(void)
{
    return message;
}

void failure_clear(void)
{
    message[0] = '\0';
}

struct path_name own_path(const char *name)
{
    struct path_name path;

    if (snprintf(path.text, sizeof(path.text), "%s/%s", arguments.dir, name) >=
        (int)sizeof(path.text))
        path.text[0] = '\0'; /* open() of nothing fails in a way that can be seen */
    return path;
}

struct path_name unique_name(const char *prefix)
{
    struct path_name path;

    (void)snprintf(path.text, 200, "%sstasis-workload.%s", prefix, arguments.tag);
    return path;
}

uint64_t mix(uint64_t seed, uint64_t index)
{
    uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u + index * 0xd1342543de82ef95u;

    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ (x >> 32);
}

void pattern_fill(void *buffer, size_t size, uint64_t seed)
{
    unsigned char *to = buffer;

    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = mix(seed, at);
        size_t left = size - at;

        memcpy(to + at, &word, left < sizeof(word) ? left : sizeof(word));
    }
}

int pattern_verify(const char *what, const void *buffer, size_t size, uint64_t seed)
{
    const unsigned char *from = buffer;

    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = mix(seed, at);
        size_t left = size - at;

        if (memcmp(from + at, &word, left < sizeof(word) ? left : sizeof(word)) != 0)
            return fail("%s: byte %zu of %zu: expected the pattern of seed %llu", what, at, size,
                        (unsigned long long)seed);
    }
    return 0;
}

int wait_for(int fd, short events, const char *what)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int r;

    do {
        r = poll(&poll_fd, 1, TIMEOUT_MS);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return fail_errno(what);
    if (r == 0)
        return fail("%s: expected within %d ms, seen nothing", what, TIMEOUT_MS);
    return 0;
}

int expect_quiet(int fd, const char *what)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int r = poll(&poll_fd, 1, 0);

    if (r < 0)
        return fail_errno(what);
    EQUAL(what, 0, r);
    return 0;
}

int read_full(int fd, void *buffer, size_t size)
{
    char *to = buffer;

    while (size > 0) {
        ssize_t got;

        PASS_ON(wait_for(fd, POLLIN, "data to read"));
        got = read(fd, to, size);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        MUST(got, "read");
        if (got == 0)
            return fail("read: expected %zu more bytes, seen end of file", size);
        to += got;
        size -= (size_t)got;
    }
    return 0;
}

int write_full(int fd, const void *buffer, size_t size)
{
    const char *from = buffer;

    while (size > 0) {
        ssize_t put;

        PASS_ON(wait_for(fd, POLLOUT, "room to write"));
        put = write(fd, from, size);
        if (put < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        MUST(put, "write");
        from += put;
        size -= (size_t)put;
    }
    return 0;
}

int read_text(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got;

    if (fd < 0)
        return fail_errno(path);
    while (used + 1 < size && (got = read(fd, buffer + used, size - 1 - used)) > 0)
        used += (size_t)got;
    buffer[used] = '\0';
    (void)close(fd);
    return (int)used;
}

int sleep_ms(unsigned int ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
    return 0;
}

int make_file(const char *name, size_t size, uint64_t seed, int flags)
{
    struct path_name path = own_path(name);
    int fd = open(path.text, flags | O_CREAT | O_CLOEXEC, 0600);
    unsigned char block[4096];

    MUST(fd, path.text);
    if (size > 0)
        MUST(ftruncate(fd, (off_t)size), "ftruncate");
    for (size_t at = 0; at < size; at += sizeof(block)) {
        size_t left = size - at < sizeof(block) ? size - at : sizeof(block);

        /* Each block on its own, so that a block can be verified without the rest. */
        pattern_fill(block, left, seed + at / sizeof(block));
        if (pwrite(fd, block, left, (off_t)at) != (ssize_t)left)
            return fail_errno("pwrite");
    }
    return fd;
}

/* Workers */

struct worker_answer {
    uint64_t value;
    int32_t result;
    char text[180];
};

static struct {
    pid_t pid;
    int fd;
} workers[128];

static void remember_worker(pid_t pid, int fd)
{
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
        if (workers[i].pid != 0)
            continue;
        workers[i].pid = pid;
        workers[i].fd = fd;
        return;
    }
    abort();
}

static void forget_worker(pid_t pid)
{
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
        if (workers[i].pid == pid)
            workers[i].pid = 0;
}

int channel_make(int fds[2])
{
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), "socketpair");
    return 0;
}

void worker_become(int keep_fd)
{
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    /* The end of a sibling's parent side must mean that the parent has gone. */
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
        if (workers[i].pid != 0 && workers[i].fd != keep_fd)
            (void)close(workers[i].fd);
        workers[i].pid = 0;
    }
}

void serve_forever(int fd, serve_function serve, void *arg)
{
    for (;;) {
        struct worker_answer answer = {.value = 0};
        uint64_t question = 0;
        ssize_t got = read(fd, &question, sizeof(question));

        if (got < 0 && errno == EINTR)
            continue;
        if (got != (ssize_t)sizeof(question))
            _exit(0);
        failure_clear();
        answer.result = serve(arg, question, &answer.value);
        (void)snprintf(answer.text, sizeof(answer.text), "%.170s", message);
        if (write(fd, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
            _exit(1);
    }
}

void worker_adopt(struct worker *worker, pid_t pid, int fd)
{
    worker->pid = pid;
    worker->fd = fd;
    remember_worker(pid, fd);
}

int worker_start(struct worker *worker, serve_function serve, void *arg)
{
    int fds[2];
    pid_t pid;

    PASS_ON(channel_make(fds));
    MUST(pid = fork(), "fork");
    if (pid == 0) {
        (void)close(fds[0]);
        worker_become(fds[1]);
        serve_forever(fds[1], serve, arg);
    }
    (void)close(fds[1]);
    worker_adopt(worker, pid, fds[0]);
    return 0;
}

int worker_ask(struct worker *worker, uint64_t question, uint64_t *ret_answer)
{
    struct worker_answer answer;

    PASS_ON(write_full(worker->fd, &question, sizeof(question)));
    PASS_ON(read_full(worker->fd, &answer, sizeof(answer)));
    if (answer.result < 0)
        return fail("process %d: %s", (int)worker->pid, answer.text);
    *ret_answer = answer.value;
    return 0;
}

int worker_expect(struct worker *worker, const char *what, uint64_t question, uint64_t expected)
{
    uint64_t answer;

    PASS_ON(worker_ask(worker, question, &answer));
    EQUAL(what, expected, answer);
    return 0;
}

int worker_end(struct worker *worker)
{
    int status;

    MUST(kill(worker->pid, SIGKILL), "kill");
    PASS_ON(wait_child(worker->pid, &status));
    forget_worker(worker->pid);
    (void)close(worker->fd);
    return 0;
}

void workers_end(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
        if (workers[i].pid == 0)
            continue;
        (void)kill(workers[i].pid, SIGKILL);
        (void)waitpid(workers[i].pid, NULL, 0);
        workers[i].pid = 0;
    }
}

int wait_child(pid_t pid, int *ret_status)
{
    for (unsigned int waited = 0; waited < TIMEOUT_MS; waited += 5) {
        pid_t got = waitpid(pid, ret_status, WNOHANG);

        if (got == pid)
            return 0;
        if (got < 0 && errno != EINTR)
            return fail_errno("waitpid");
        (void)sleep_ms(5);
    }
    return fail("process %d: expected to end, seen running", (int)pid);
}

int process_state(pid_t pid)
{
    char path[64];
    char text[1024];
    const char *end;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    PASS_ON(read_text(path, text, sizeof(text)));
    end = strrchr(text, ')');
    if (end == NULL || end[1] == '\0')
        return fail("%s: expected a state, seen '%s'", path, text);
    return end[2];
}

int wait_state(pid_t pid, char state)
{
    int seen = 0;

    for (unsigned int waited = 0; waited < TIMEOUT_MS; waited += 5) {
        PASS_ON(seen = process_state(pid));
        if (seen == state)
            return 0;
        (void)sleep_ms(5);
    }
    return fail("process %d: expected state %c, seen %c", (int)pid, state, seen);
}
