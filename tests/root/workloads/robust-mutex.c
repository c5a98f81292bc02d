/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A robust mutex in shared memory. Its holder is killed after a restore: only
 * if the kernel knows the robust list again does the next one get EOWNERDEAD.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "common.h"

static struct shared {
    pthread_mutex_t robust;
    pthread_mutex_t inheriting;
    uint64_t holder_round;
} * shared;

static struct worker holder;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    if (pthread_mutex_lock(&shared->robust) != 0)
        return fail("expected the mutex to be free");
    shared->holder_round = question;
    *answer = question;
    return 0;
}

static int start_holder(uint64_t n)
{
    PASS_ON(worker_start(&holder, serve, NULL));
    return worker_expect(&holder, "lock taken", n, n);
}

static int init_mutex(pthread_mutex_t *mutex, bool robust)
{
    pthread_mutexattr_t attributes;

    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (robust)
        (void)pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    else
        (void)pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    return -pthread_mutex_init(mutex, &attributes);
}

static int setup(void)
{
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(shared, "mmap");
    PASS_ON(init_mutex(&shared->robust, true));
    PASS_ON(init_mutex(&shared->inheriting, false));
    return start_holder(0);
}

static int lock_after_death(void)
{
    struct timespec until;
    int r;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TIMEOUT_MS / 1000;
    r = pthread_mutex_timedlock(&shared->robust, &until);
    EQUAL("lock of a dead holder", EOWNERDEAD, r);
    EQUAL("pthread_mutex_consistent", 0, pthread_mutex_consistent(&shared->robust));
    EQUAL("pthread_mutex_unlock", 0, pthread_mutex_unlock(&shared->robust));
    return 0;
}

static int check(uint64_t n)
{
    EQUAL("trylock of a held mutex", EBUSY, pthread_mutex_trylock(&shared->robust));
    EQUAL("number left by the holder", n - 1, shared->holder_round);
    EQUAL("lock of the inheriting mutex", 0, pthread_mutex_lock(&shared->inheriting));
    EQUAL("unlock of the inheriting mutex", 0, pthread_mutex_unlock(&shared->inheriting));
    PASS_ON(worker_end(&holder));
    PASS_ON(lock_after_death());
    return start_holder(n);
}

const struct workload_kind kind_robust_mutex = {
    .name = "robust-mutex",
    .description = "robust mutex held by a process that dies after the restore",
    .setup = setup,
    .check = check,
};
