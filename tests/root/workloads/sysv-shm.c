/* SPDX-License-Identifier: Apache-2.0 */
/* System V shared memory: two segments, attached here and in a child. */
#include <sys/ipc.h>
#include <sys/shm.h>

#include "common.h"

enum { SIZE = 96 * 1024 };

static struct {
    int kept;
    int other;
    unsigned char *kept_at;
    unsigned char *other_at;
    struct worker worker;
} s;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    PASS_ON(pattern_verify("segment seen by the child", s.kept_at, SIZE, question));
    *answer = question;
    return 0;
}

static int make(int *ret_id, unsigned char **ret_at)
{
    MUST(*ret_id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0640), "shmget");
    *ret_at = shmat(*ret_id, NULL, 0);
    MUST(*ret_at, "shmat");
    pattern_fill(*ret_at, SIZE, 0);
    return 0;
}

static int setup(void)
{
    PASS_ON(make(&s.kept, &s.kept_at));
    PASS_ON(make(&s.other, &s.other_at));
    return worker_start(&s.worker, serve, NULL);
}

static int check(uint64_t n)
{
    struct shmid_ds info;

    MUST(shmctl(s.kept, IPC_STAT, &info), "shmctl");
    EQUAL("size", SIZE, info.shm_segsz);
    EQUAL("mode", 0640, info.shm_perm.mode & 0777);
    EQUAL("attached", 2, info.shm_nattch);
    PASS_ON(pattern_verify("segment", s.kept_at, SIZE, n - 1));
    PASS_ON(pattern_verify("second segment", s.other_at, SIZE, n - 1));
    pattern_fill(s.kept_at, SIZE, n);
    pattern_fill(s.other_at, SIZE, n);
    return worker_expect(&s.worker, "answer of the child", n, n);
}

static void stop(void)
{
    (void)shmctl(s.kept, IPC_RMID, NULL);
    (void)shmctl(s.other, IPC_RMID, NULL);
}

const struct workload_kind kind_sysv_shm = {
    .name = "sysv-shm",
    .description = "System V shared memory segments",
    .flags = KIND_NAMESPACES,
    .reason = "System V objects are carried over only with an IPC namespace of their own",
    .setup = setup,
    .check = check,
    .stop = stop,
};
