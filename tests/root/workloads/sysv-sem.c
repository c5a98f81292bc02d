/* SPDX-License-Identifier: Apache-2.0 */
/* A set of System V semaphores with values. */
#include <sys/ipc.h>
#include <sys/sem.h>

#include "common.h"

enum { COUNT = 5 };

static int id;

static int set_all(uint64_t n)
{
    unsigned short values[COUNT];

    for (unsigned int i = 0; i < COUNT; i++)
        values[i] = (unsigned short)(n * 10 + i);
    MUST(semctl(id, 0, SETALL, values), "SETALL");
    return 0;
}

static int setup(void)
{
    MUST(id = semget(IPC_PRIVATE, COUNT, IPC_CREAT | 0600), "semget");
    return set_all(0);
}

static int check(uint64_t n)
{
    struct sembuf operation = {.sem_num = 2, .sem_op = -2, .sem_flg = IPC_NOWAIT};

    for (int i = 0; i < COUNT; i++)
        EQUAL("value of a semaphore", (n - 1) * 10 + (uint64_t)i, semctl(id, i, GETVAL));
    MUST(semop(id, &operation, 1), "semop");
    EQUAL("value after an operation", (n - 1) * 10, semctl(id, 2, GETVAL));
    return set_all(n);
}

static void stop(void)
{
    (void)semctl(id, 0, IPC_RMID);
}

const struct workload_kind kind_sysv_sem = {
    .name = "sysv-sem",
    .description = "System V semaphores",
    .flags = KIND_NAMESPACES,
    .reason = "System V objects are carried over only with an IPC namespace of their own",
    .setup = setup,
    .check = check,
    .stop = stop,
};
