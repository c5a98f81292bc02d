/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel: each feature is tried, as version numbers and configurations say little. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "doctor/machine.h"
#include "doctor/small-file.h"
#include "doctor/trial.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* linux/fs.h of 6.7 and newer; headers of Debian 12 lack it. */
struct pagemap_scan {
    uint64_t size, flags, start, end, walk_end, vector, vector_length, maximum_pages;
    uint64_t category_inverted, category_mask, category_any_of_mask, return_mask;
};
#define PAGEMAP_SCAN_REQUEST _IOWR('f', 16, struct pagemap_scan)

/* linux/sched.h of 5.5 and newer. */
struct clone_request {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    uint64_t set_tid, set_tid_size, cgroup;
};

static void examine_version(struct findings *findings)
{
    struct utsname name;
    unsigned major = 0, minor = 0;
    const char *c;

    if (uname(&name) < 0)
        return;
    for (c = name.release; *c >= '0' && *c <= '9'; c++)
        major = major * 10 + (unsigned)(*c - '0');
    for (c += *c == '.'; *c >= '0' && *c <= '9'; c++)
        minor = minor * 10 + (unsigned)(*c - '0');
    if (major < 5 || (major == 5 && minor < 9))
        findings_add(findings, "kernel-version", FINDING_FAILURE,
                     "Linux %s is too old; 5.9 is the least", name.release);
    else
        findings_add(findings, "kernel-version", FINDING_OK, "Linux %s, %s", name.release,
                     name.machine);
}

static int try_namespace(void *context)
{
    return unshare(*(int *)context) < 0 ? -errno : 0;
}

static void examine_namespaces(struct findings *findings)
{
    static const struct {
        int flag;
        const char *name;
        const char *code;
        enum finding_level missing;
    } kinds[] = {
        {CLONE_NEWPID, "pid", "namespace-pid", FINDING_FAILURE},
        {CLONE_NEWNS, "mount", "namespace-mount", FINDING_FAILURE},
        {CLONE_NEWIPC, "ipc", "namespace-ipc", FINDING_WARNING},
        {CLONE_NEWNET, "network", "namespace-network", FINDING_WARNING},
        {CLONE_NEWTIME, "time", "namespace-time", FINDING_NOTE},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        int flag = kinds[i].flag;
        int r = trial_run(try_namespace, &flag);

        if (r < 0)
            findings_add(findings, kinds[i].code, kinds[i].missing, "No new %s namespace: %s",
                         kinds[i].name, strerror(-r));
        else
            findings_add(findings, kinds[i].code, FINDING_OK, "New %s namespaces work",
                         kinds[i].name);
    }
}

/* A high id that nobody has. */
static pid_t free_pid(void)
{
    for (pid_t pid = 32000; pid > 1000; pid -= 7) {
        if (kill(pid, 0) < 0 && errno == ESRCH)
            return pid;
    }
    return -1;
}

static int try_set_tid(void *context)
{
    pid_t wanted = free_pid();
    struct clone_request request = {
        .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&wanted, .set_tid_size = 1};
    long pid;

    (void)context;
    pid = syscall(SYS_clone3, &request, sizeof request);
    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(0);
    (void)waitpid((pid_t)pid, NULL, 0);
    return pid == wanted ? 0 : -EINVAL;
}

static int try_pagemap_scan(void *context)
{
    CLEANUP(close_fd) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    struct pagemap_scan request = {.size = sizeof request};

    (void)context;
    if (fd < 0)
        return -errno;
    return ioctl(fd, PAGEMAP_SCAN_REQUEST, &request) < 0 ? -errno : 0;
}

static int try_on_child(pid_t child)
{
    uint64_t there = 0;
    struct iovec local = {&there, sizeof there}, remote = {&there, sizeof there};

    if (ptrace(PTRACE_SEIZE, child, NULL, NULL) < 0 ||
        ptrace(PTRACE_INTERRUPT, child, NULL, NULL) < 0)
        return -errno;
    if (waitpid(child, NULL, __WALL) < 0)
        return -errno;
    return process_vm_readv(child, &local, 1, &remote, 1, 0) < 0 ? -errno : 0;
}

static int try_ptrace(void *context)
{
    pid_t child = fork();
    int r;

    (void)context;
    if (child < 0)
        return -errno;
    while (child == 0)
        (void)pause();
    r = try_on_child(child);
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, __WALL);
    return r;
}

static int try_kcmp(void *context)
{
    (void)context;
    return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 0L, 0L) < 0 ? -errno : 0;
}

static int try_map_files(void *context)
{
    CLEANUP(close_directory) DIR *directory = opendir("/proc/self/map_files");
    struct dirent *entry;

    (void)context;
    while (directory && (entry = readdir(directory))) {
        CLEANUP(close_fd) int fd = -1;

        if (entry->d_name[0] == '.')
            continue;
        fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : 0;
    }
    return directory ? -ENOENT : -errno;
}

static int try_socket_diagnosis(void *context)
{
    CLEANUP(close_fd)
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

    (void)context;
    return fd < 0 ? -errno : 0;
}

struct feature {
    const char *code;
    const char *works;
    const char *missing;
    int (*attempt)(void *context);
    enum finding_level level;
    bool needs_privilege;
};

static const struct feature features[] = {
    {"set-tid", "Processes can get their old ids (clone3 set_tid)",
     "Processes can't get their old ids (clone3 set_tid)", try_set_tid, FINDING_FAILURE, true},
    {"ptrace", "Other processes can be stopped and read (ptrace, process_vm_readv)",
     "Other processes can't be stopped and read (ptrace, process_vm_readv)", try_ptrace,
     FINDING_FAILURE, false},
    {"kcmp", "Shared files of processes can be told (kcmp)",
     "Shared files of processes can't be told (kcmp)", try_kcmp, FINDING_FAILURE, false},
    {"map-files", "Mapped files can be opened (/proc/PID/map_files)",
     "Mapped files can't be opened (/proc/PID/map_files)", try_map_files, FINDING_FAILURE, true},
    {"socket-diagnosis", "Sockets can be listed (sock_diag)", "Sockets can't be listed (sock_diag)",
     try_socket_diagnosis, FINDING_WARNING, false},
    {"pagemap-scan", "Memory can be scanned fast (PAGEMAP_SCAN)",
     "Memory is scanned page by page (no PAGEMAP_SCAN)", try_pagemap_scan, FINDING_NOTE, false},
};

static void examine_features(struct findings *findings, bool privileged)
{
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        const struct feature *feature = &features[i];
        int r;

        if (feature->needs_privilege && !privileged)
            continue;
        r = trial_run(feature->attempt, NULL);
        if (r < 0)
            findings_add(findings, feature->code, feature->level, "%s: %s", feature->missing,
                         strerror(-r));
        else
            findings_add(findings, feature->code, FINDING_OK, "%s", feature->works);
    }
}

static void examine_yama(struct findings *findings)
{
    CLEANUP(free_ptr) char *scope = small_file_line("/proc/sys/kernel/yama/ptrace_scope");

    if (!scope)
        findings_add(findings, "yama", FINDING_OK, "Yama does not restrict ptrace");
    else if (text_equal(scope, "3"))
        findings_add(findings, "yama", FINDING_FAILURE, "Yama forbids ptrace (ptrace_scope is 3)");
    else
        findings_add(findings, "yama", FINDING_OK, "Yama's ptrace_scope is %s; root may", scope);
}

static void examine_io_uring(struct findings *findings)
{
    CLEANUP(free_ptr) char *disabled = small_file_line("/proc/sys/kernel/io_uring_disabled");

    if (text_equal(disabled, "2"))
        findings_add(findings, "io-uring", FINDING_OK, "io_uring is off on this machine");
    else
        findings_add(findings, "io-uring", FINDING_NOTE,
                     "io_uring is on; `snapshotctl run` hides it from workloads");
}

void examine_kernel(struct findings *findings, bool privileged)
{
    examine_version(findings);
    if (privileged)
        examine_namespaces(findings);
    examine_features(findings, privileged);
    examine_yama(findings);
    examine_io_uring(findings);
}
