/* SPDX-License-Identifier: Apache-2.0 */
/* A child that belongs to another user, with four different user and group ids. */
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static struct worker worker;

/* Real, effective, saved and file-system ids all differ. */
static int become_somebody(void)
{
    MUST(setresgid(2001, 2002, 2003), "setresgid");
    MUST(prctl(PR_SET_KEEPCAPS, 1), "PR_SET_KEEPCAPS");
    MUST(setresuid(1001, 1002, 1003), "setresuid");
    /* Changing users had it cleared. */
    MUST(prctl(PR_SET_DUMPABLE, 1), "PR_SET_DUMPABLE");
    return 0;
}

static int compare_ids(void)
{
    uid_t uids[3];
    gid_t gids[3];

    MUST(getresuid(&uids[0], &uids[1], &uids[2]), "getresuid");
    MUST(getresgid(&gids[0], &gids[1], &gids[2]), "getresgid");
    for (unsigned int i = 0; i < 3; i++) {
        EQUAL("user id", 1001 + i, uids[i]);
        EQUAL("group id", 2001 + i, gids[i]);
    }
    EQUAL("file-system user id", 1002, setfsuid((uid_t)-1));
    return 0;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    if (question == 0)
        return become_somebody();
    *answer = question;
    return compare_ids();
}

/* Reading the limits of another user's process takes CAP_SYS_RESOURCE, and CRIU reads them. */
static bool may_read_limits(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{.effective = 0}};

    return syscall(SYS_capget, &header, sets) == 0 &&
           (sets[0].effective & 1u << CAP_SYS_RESOURCE) != 0;
}

static int setup(void)
{
    if (geteuid() != 0 || !may_read_limits())
        return skip_kind("root lacks CAP_SYS_RESOURCE here, without which CRIU cannot save "
                         "processes of other users");
    PASS_ON(worker_start(&worker, serve, NULL));
    return worker_expect(&worker, "start", 0, 0);
}

static int check(uint64_t n)
{
    return worker_expect(&worker, "ids of the child", n, n);
}

const struct workload_kind kind_user_ids = {
    .name = "user-ids",
    .description = "child of another user, with different real, effective and saved ids",
    .setup = setup,
    .check = check,
};
