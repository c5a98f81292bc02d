/* SPDX-License-Identifier: Apache-2.0 */
/* Rights: capabilities, and what else can take them away: seccomp, no_new_privs, cgroups, LSMs. */
#include <linux/capability.h>
#include <stdint.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "doctor/machine.h"
#include "doctor/small-file.h"

#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

#define CGROUP2_MAGIC 0x63677270

struct capability {
    unsigned number;
    const char *name;
    enum finding_level missing;
    const char *use;
};

static const struct capability capabilities[] = {
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN", FINDING_FAILURE, "makes namespaces and mounts"},
    {CAP_SYS_PTRACE, "CAP_SYS_PTRACE", FINDING_FAILURE, "stops and reads other processes"},
    {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", FINDING_WARNING, "opens files of other users"},
    {CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", FINDING_NOTE, "opens files by handle"},
    {CAP_CHOWN, "CAP_CHOWN", FINDING_WARNING, "gives restored files their owner"},
    {CAP_FOWNER, "CAP_FOWNER", FINDING_WARNING, "gives restored files their mode"},
    {CAP_SETUID, "CAP_SETUID", FINDING_WARNING, "restores processes of other users"},
    {CAP_SETGID, "CAP_SETGID", FINDING_WARNING, "restores processes of other groups"},
    {CAP_SETPCAP, "CAP_SETPCAP", FINDING_WARNING, "restores the rights of processes"},
    {CAP_KILL, "CAP_KILL", FINDING_WARNING, "signals processes of other users"},
    {CAP_NET_ADMIN, "CAP_NET_ADMIN", FINDING_WARNING, "restores sockets and TCP connections"},
    {CAP_SYS_CHROOT, "CAP_SYS_CHROOT", FINDING_WARNING, "restores mount namespaces"},
    {CAP_MKNOD, "CAP_MKNOD", FINDING_NOTE, "restores device files in a private /dev"},
    {CAP_IPC_LOCK, "CAP_IPC_LOCK", FINDING_NOTE, "restores locked memory, pins buffers"},
    {CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", FINDING_WARNING,
     "saves processes of other users than root"},
    {CAP_SYS_NICE, "CAP_SYS_NICE", FINDING_NOTE, "restores scheduling and affinity"},
    {CAP_CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE", FINDING_NOTE,
     "sets process ids without CAP_SYS_ADMIN"},
};

static uint64_t effective_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capget, &header, data) < 0)
        return 0;
    return data[0].effective | (uint64_t)data[1].effective << 32;
}

static void examine_capabilities(struct findings *findings)
{
    uint64_t effective = effective_capabilities();
    size_t missing = 0;

    for (size_t i = 0; i < sizeof capabilities / sizeof capabilities[0]; i++) {
        if (effective & UINT64_C(1) << capabilities[i].number)
            continue;
        missing++;
        findings_add(findings, "capability-missing", capabilities[i].missing, "No %s, which %s",
                     capabilities[i].name, capabilities[i].use);
    }
    if (missing == 0)
        findings_add(findings, "capabilities", FINDING_OK, "All capabilities that are needed");
}

static void examine_restrictions(struct findings *findings)
{
    if (small_file_number("/proc/self/status", "Seccomp") > 0)
        findings_add(findings, "seccomp", FINDING_WARNING,
                     "A seccomp filter (of a container?) applies to this process");
    else
        findings_add(findings, "seccomp", FINDING_OK, "No seccomp filter applies");
    if (small_file_number("/proc/self/status", "NoNewPrivs") > 0)
        findings_add(findings, "no-new-privileges", FINDING_NOTE,
                     "no_new_privs is set on this process");
}

static void examine_cgroups(struct findings *findings)
{
    struct statfs fs;

    if (statfs("/sys/fs/cgroup", &fs) < 0)
        findings_add(findings, "cgroups", FINDING_NOTE, "No cgroups are mounted");
    else if ((uint64_t)fs.f_type == CGROUP2_MAGIC)
        findings_add(findings, "cgroups", FINDING_OK, "cgroups version 2");
    else
        findings_add(findings, "cgroups", FINDING_NOTE, "cgroups version 1 (or hybrid)");
}

static void examine_security_modules(struct findings *findings)
{
    CLEANUP(free_ptr) char *label = small_file_line("/proc/self/attr/current");
    CLEANUP(free_ptr) char *enforcing = small_file_line("/sys/fs/selinux/enforce");

    if (text_equal(enforcing, "1"))
        findings_add(findings, "security-module", FINDING_WARNING, "SELinux is enforcing%s%s",
                     label ? ", here as " : "", label ? label : "");
    else if (label && text_ends_with(label, "(enforce)"))
        findings_add(findings, "security-module", FINDING_WARNING,
                     "An AppArmor profile confines this process: %s", label);
    else
        findings_add(findings, "security-module", FINDING_OK,
                     "No security module confines this process");
}

void examine_rights(struct findings *findings)
{
    examine_capabilities(findings);
    examine_restrictions(findings);
    examine_cgroups(findings);
    examine_security_modules(findings);
}
