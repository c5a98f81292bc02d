/* SPDX-License-Identifier: Apache-2.0 */
/* Named and unnamed POSIX semaphores, with a child that waits in one. */
#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <time.h>

#include "common.h"

static struct shared {
    sem_t wanted;
    sem_t done;
    uint64_t number;
} * shared;

static sem_t *named;

static int wait_semaphore(sem_t *semaphore)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TIMEOUT_MS / 1000;
    while (sem_timedwait(semaphore, &until) < 0)
        if (errno != EINTR)
            return fail_errno("sem_timedwait");
    return 0;
}

/* Sits in the futex of a semaphore at every checkpoint. */
static int child_loop(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    (void)question;
    (void)answer;
    for (;;) {
        while (sem_wait(&shared->wanted) < 0 && errno == EINTR)
            ;
        shared->number *= 2;
        (void)sem_post(&shared->done);
    }
    return 0;
}

static struct worker worker;

static int setup(void)
{
    uint64_t start = 0;

    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(shared, "mmap");
    MUST(sem_init(&shared->wanted, 1, 0), "sem_init");
    MUST(sem_init(&shared->done, 1, 0), "sem_init");
    named = sem_open(unique_name("/").text, O_CREAT | O_EXCL, 0600, 3);
    if (named == SEM_FAILED)
        return fail_errno("sem_open");
    PASS_ON(worker_start(&worker, child_loop, NULL));
    return write_full(worker.fd, &start, sizeof(start));
}

static int check(uint64_t n)
{
    int value = 0;

    MUST(sem_getvalue(named, &value), "sem_getvalue");
    if (arguments.private_shm)
        EQUAL("value of the named semaphore", 3 + n - 1, value);
    AT_LEAST("value of the named semaphore", 3 + n - 1, value);
    MUST(sem_post(named), "sem_post");
    MUST(sem_getvalue(&shared->wanted, &value), "sem_getvalue");
    EQUAL("value of the unnamed semaphore", 0, value);
    shared->number = n;
    MUST(sem_post(&shared->wanted), "sem_post");
    PASS_ON(wait_semaphore(&shared->done));
    EQUAL("number doubled by the child", 2 * n, shared->number);
    return wait_state(worker.pid, 'S');
}

const struct workload_kind kind_posix_semaphore = {
    .name = "posix-semaphore",
    .description = "named and unnamed POSIX semaphores, a child waiting in one",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
