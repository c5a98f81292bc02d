/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads: ids, names, thread-local storage, signal masks, mutex and condition. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum { THREADS = 40 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t go;
    pthread_cond_t done;
    uint64_t round;
    unsigned int answered;
    char problem[200];
    struct thread {
        pthread_t thread;
        pid_t id;
        unsigned int number;
    } threads[THREADS];
} s = {.lock = PTHREAD_MUTEX_INITIALIZER,
       .go = PTHREAD_COND_INITIALIZER,
       .done = PTHREAD_COND_INITIALIZER};

static __thread uint64_t own_count;
static __thread char own_buffer[3000] __attribute__((aligned(64)));
static pthread_key_t key;

static const char *look_at_thread(struct thread *thread, uint64_t round)
{
    char name[16] = "";
    char expected[16];
    sigset_t blocked;

    (void)snprintf(expected, sizeof(expected), "worker-%u", thread->number);
    (void)pthread_getname_np(pthread_self(), name, sizeof(name));
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (own_count != round - 1)
        return "thread-local count";
    if (pattern_verify("", own_buffer, sizeof(own_buffer), thread->number + round - 1) < 0)
        return "thread-local buffer";
    if (syscall(SYS_gettid) != thread->id)
        return "thread id";
    if (strcmp(name, expected) != 0)
        return "name";
    if (sigismember(&blocked, SIGRTMIN + (int)thread->number % 20) != 1)
        return "blocked signal";
    if (pthread_getspecific(key) != thread)
        return "thread-specific data";
    return NULL;
}

static void prepare_thread(struct thread *thread)
{
    char name[16];
    sigset_t blocked;

    (void)snprintf(name, sizeof(name), "worker-%u", thread->number);
    (void)pthread_setname_np(pthread_self(), name);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGRTMIN + (int)thread->number % 20);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    (void)pthread_setspecific(key, thread);
    pattern_fill(own_buffer, sizeof(own_buffer), thread->number);
    thread->id = (pid_t)syscall(SYS_gettid);
}

static void *run(void *arg)
{
    struct thread *thread = arg;
    uint64_t seen = 0;

    prepare_thread(thread);
    (void)pthread_mutex_lock(&s.lock);
    s.answered++;
    (void)pthread_cond_signal(&s.done);
    for (;;) {
        const char *problem;

        while (s.round == seen)
            (void)pthread_cond_wait(&s.go, &s.lock);
        seen = s.round;
        problem = look_at_thread(thread, seen);
        if (problem != NULL)
            (void)snprintf(s.problem, sizeof(s.problem), "thread %u: unexpected %s", thread->number,
                           problem);
        own_count = seen;
        pattern_fill(own_buffer, sizeof(own_buffer), thread->number + seen);
        s.answered++;
        (void)pthread_cond_signal(&s.done);
    }
    return NULL;
}

/* With the lock held. */
static int wait_for_all(void)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TIMEOUT_MS / 1000;
    while (s.answered < THREADS)
        if (pthread_cond_timedwait(&s.done, &s.lock, &until) != 0)
            return fail("expected answers of %d threads, seen %u", THREADS, s.answered);
    return 0;
}

static int setup(void)
{
    int r;

    (void)pthread_key_create(&key, NULL);
    (void)pthread_mutex_lock(&s.lock);
    for (unsigned int i = 0; i < THREADS; i++) {
        s.threads[i].number = i;
        r = pthread_create(&s.threads[i].thread, NULL, run, &s.threads[i]);
        if (r != 0)
            return -r;
    }
    r = wait_for_all();
    (void)pthread_mutex_unlock(&s.lock);
    return r;
}

static int check(uint64_t n)
{
    int r;

    (void)pthread_mutex_lock(&s.lock);
    s.answered = 0;
    s.round = n;
    (void)pthread_cond_broadcast(&s.go);
    r = wait_for_all();
    (void)pthread_mutex_unlock(&s.lock);
    PASS_ON(r);
    return s.problem[0] == '\0' ? 0 : fail("%s", s.problem);
}

const struct workload_kind kind_threads = {
    .name = "threads",
    .description = "40 threads with thread-local storage, names, masks, waiting",
    .setup = setup,
    .check = check,
};
