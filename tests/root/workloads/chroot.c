/* SPDX-License-Identifier: Apache-2.0 */
/* A child whose root directory is elsewhere. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

static struct worker worker;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    char seen[PATH_MAX];

    (void)arg;
    if (question == 0) {
        MUST(chroot(own_path("root").text), "chroot");
        MUST(chdir("/inside"), "chdir");
        return 0;
    }
    if (getcwd(seen, sizeof(seen)) == NULL)
        return fail_errno("getcwd");
    if (strcmp(seen, "/inside") != 0)
        return fail("current directory: expected /inside, seen %s", seen);
    EQUAL("access to /usr", -1, access("/usr", F_OK));
    *answer = question;
    return 0;
}

static int setup(void)
{
    if (geteuid() != 0)
        return skip_kind("chroot needs root");
    MUST(mkdir(own_path("root").text, 0700), "mkdir");
    MUST(mkdir(own_path("root/inside").text, 0700), "mkdir");
    PASS_ON(worker_start(&worker, serve, NULL));
    return worker_expect(&worker, "start", 0, 0);
}

static int check(uint64_t n)
{
    MUST(access("/usr", F_OK), "access");
    return worker_expect(&worker, "child", n, n);
}

const struct workload_kind kind_chroot = {
    .name = "chroot",
    .description = "child with another root directory",
    .setup = setup,
    .check = check,
};
