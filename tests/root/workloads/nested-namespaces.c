/* SPDX-License-Identifier: Apache-2.0 */
/* A child in user and mount namespaces of its own. */
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

static struct worker worker;
static ino_t own;

static int namespace_of(const char *path, ino_t *ret)
{
    struct stat info;

    MUST(stat(path, &info), path);
    *ret = info.st_ino;
    return 0;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    ino_t seen = 0;

    (void)arg;
    if (question == 0)
        MUST(unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
    PASS_ON(namespace_of("/proc/self/ns/mnt", &seen));
    *answer = seen != own;
    return 0;
}

static int setup(void)
{
    PASS_ON(namespace_of("/proc/self/ns/mnt", &own));
    PASS_ON(worker_start(&worker, serve, NULL));
    return worker_expect(&worker, "own namespace", 0, 1);
}

static int check(uint64_t n)
{
    return worker_expect(&worker, "own namespace", n, 1);
}

const struct workload_kind kind_nested_namespaces = {
    .name = "nested-namespaces",
    .description = "child in user and mount namespaces of its own",
    .flags = KIND_REFUSED,
    .reason = "CRIU carries nested mount namespaces over only together with the outer one",
    .setup = setup,
    .check = check,
};
