/* SPDX-License-Identifier: Apache-2.0 */
/* Nice value, policy and priority of processes and threads. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static pid_t idle_thread;
static struct worker realtime;
static bool have_realtime;
static atomic_bool thread_ready;

static void *idle(void *arg)
{
    struct sched_param none = {0};

    (void)arg;
    (void)sched_setscheduler(0, SCHED_IDLE, &none);
    idle_thread = (pid_t)syscall(SYS_gettid);
    atomic_store(&thread_ready, true);
    for (;;)
        (void)pause();
    return NULL;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    struct sched_param parameters = {.sched_priority = 9};

    (void)arg;
    if (question == 0) {
        *answer = sched_setscheduler(0, SCHED_RR, &parameters) == 0;
        return 0;
    }
    parameters.sched_priority = 0;
    EQUAL("policy", SCHED_RR, sched_getscheduler(0));
    MUST(sched_getparam(0, &parameters), "sched_getparam");
    *answer = (uint64_t)parameters.sched_priority;
    return 0;
}

static int setup(void)
{
    struct sched_param none = {0};
    pthread_t thread;
    uint64_t answer;

    PASS_ON(worker_start(&realtime, serve, NULL));
    PASS_ON(worker_ask(&realtime, 0, &answer));
    have_realtime = answer == 1;
    MUST(sched_setscheduler(0, SCHED_BATCH, &none), "sched_setscheduler");
    MUST(setpriority(PRIO_PROCESS, 0, 3), "setpriority");
    PASS_ON(-pthread_create(&thread, NULL, idle, NULL));
    while (!atomic_load(&thread_ready))
        (void)sleep_ms(1);
    return 0;
}

static int check(uint64_t n)
{
    EQUAL("policy", SCHED_BATCH, sched_getscheduler(0));
    EQUAL("policy of the thread", SCHED_IDLE, sched_getscheduler(idle_thread));
    errno = 0;
    EQUAL("nice value", 3 + (n - 1) % 10, getpriority(PRIO_PROCESS, 0));
    MUST(setpriority(PRIO_PROCESS, 0, 3 + (int)(n % 10)), "setpriority");
    if (have_realtime)
        PASS_ON(worker_expect(&realtime, "realtime priority", n, 9));
    return 0;
}

const struct workload_kind kind_scheduling = {
    .name = "scheduling",
    .description = "nice values, scheduling policies and priorities",
    .setup = setup,
    .check = check,
};
