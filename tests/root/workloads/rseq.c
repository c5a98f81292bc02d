/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel keeps the CPU number in the restartable-sequences area of each thread. */
#include <pthread.h>
#include <sched.h>
#include <sys/rseq.h>

#include "common.h"

static int look_at_own_area(const char *who)
{
    const struct rseq *area =
        (const struct rseq *)(void *)((char *)__builtin_thread_pointer() + __rseq_offset);

    /* Without a registration the kernel stops to update the area, on any CPU. */
    for (int cpu = 0; cpu < 64; cpu++) {
        cpu_set_t set;
        cpu_set_t before;

        if (sched_getaffinity(0, sizeof(before), &before) < 0 || !CPU_ISSET(cpu, &before))
            continue;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        MUST(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
        EQUAL(who, cpu, __atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED));
        MUST(sched_setaffinity(0, sizeof(before), &before), "sched_setaffinity");
    }
    return 0;
}

static pthread_barrier_t barrier;
static int thread_result;
static pthread_t thread;

static void *run(void *arg)
{
    (void)arg;
    for (;;) {
        (void)pthread_barrier_wait(&barrier);
        thread_result = look_at_own_area("CPU number of the thread");
        (void)pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static int setup(void)
{
    if (__rseq_size == 0)
        return skip_kind("the C library has not registered restartable sequences");
    (void)pthread_barrier_init(&barrier, NULL, 2);
    return -pthread_create(&thread, NULL, run, NULL);
}

static int check(uint64_t n)
{
    (void)n;
    PASS_ON(look_at_own_area("CPU number of the main thread"));
    (void)pthread_barrier_wait(&barrier);
    (void)pthread_barrier_wait(&barrier);
    return thread_result;
}

const struct workload_kind kind_rseq = {
    .name = "rseq",
    .description = "restartable sequences stay registered",
    .setup = setup,
    .check = check,
};
