/* SPDX-License-Identifier: Apache-2.0 */
/* Groups, capabilities of all five sets, secure bits. */
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static const gid_t groups[] = {5, 777, 70000};
struct capabilities {
    struct __user_cap_data_struct sets[2];
};

static int get_capabilities(struct capabilities *ret)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    MUST(syscall(SYS_capget, &header, ret->sets), "capget");
    return 0;
}

static struct capabilities expected;

static int shape_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    PASS_ON(get_capabilities(&expected));
    MUST(prctl(PR_CAPBSET_DROP, CAP_MKNOD), "PR_CAPBSET_DROP");
    expected.sets[0].effective &= ~(1u << CAP_MKNOD | 1u << CAP_SYS_MODULE);
    expected.sets[0].permitted &= ~(1u << CAP_MKNOD);
    expected.sets[0].inheritable |= 1u << CAP_NET_RAW;
    MUST(syscall(SYS_capset, &header, expected.sets), "capset");
    MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0), "PR_CAP_AMBIENT");
    MUST(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP), "PR_SET_SECUREBITS");
    return 0;
}

static int setup(void)
{
    if (geteuid() != 0)
        return skip_kind("changing credentials needs root");
    MUST(setgroups(ARRAY_SIZE(groups), groups), "setgroups");
    return shape_capabilities();
}

static int check_groups(void)
{
    gid_t seen[8];

    EQUAL("number of groups", ARRAY_SIZE(groups), getgroups(ARRAY_SIZE(seen), seen));
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        EQUAL("group", groups[i], seen[i]);
    return 0;
}

static int check(uint64_t n)
{
    struct capabilities seen;

    (void)n;
    PASS_ON(get_capabilities(&seen));
    for (int i = 0; i < 2; i++) {
        EQUAL("effective", expected.sets[i].effective, seen.sets[i].effective);
        EQUAL("permitted", expected.sets[i].permitted, seen.sets[i].permitted);
        EQUAL("inheritable", expected.sets[i].inheritable, seen.sets[i].inheritable);
    }
    EQUAL("bounding set", 0, prctl(PR_CAPBSET_READ, CAP_MKNOD));
    EQUAL("ambient set", 1, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0));
    EQUAL("secure bits", SECBIT_NO_SETUID_FIXUP, prctl(PR_GET_SECUREBITS));
    return check_groups();
}

const struct workload_kind kind_credentials = {
    .name = "credentials",
    .description = "groups, capabilities, secure bits",
    .setup = setup,
    .check = check,
};
