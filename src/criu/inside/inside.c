/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into CRIU when it has to work in the mount namespace of a container. Program and
 * libraries are loaded from where they are installed, so nothing of the container's is ever run by
 * CRIU (its /etc/ld.so.preload, say), and nothing has to be mounted into it; then, before main(),
 * this goes inside.
 *
 * There, some things are not what CRIU takes them for:
 * - mountinfo: CRIU reads lines of at most 4095 bytes, and the options of an overlay of many layers
 *   are longer. They are left out; CRIU has no use for them.
 * - /run/criu.kdat, what CRIU has found out about the kernel: it stays with the host, in a
 *   directory of ours that counts for this boot only. (CRIU trusts a tmpfs only, and leaves a
 *   temporary file elsewhere.)
 * - Limits of processes of other users: the system call that tells them wants CAP_SYS_RESOURCE,
 *   which /proc does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "criu/inside/inside.h"

#define EXPORTED __attribute__((visibility("default")))
#define CRIU_DIRECTORY "/run/"
#define KNOWLEDGE "criu.kdat"
#define OUR_DIRECTORY "/run/stasis" /* where $STASIS_RUN names no other */

enum { LINE_MAXIMUM = 4000, TABLE_MAXIMUM = 64 << 20, HIGH_FD = 800 };

static int knowledge_directory = -1; /* the host's */
static int knowledge_file = -1;
static int knowledge_ready = -1; /* open for reading, if it was there */

static int raw_open(int directory, const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

/* Without it CRIU finds everything out anew. */
static void open_knowledge(void)
{
    const char *chosen = getenv("STASIS_RUN");
    const char *parent = chosen && *chosen ? chosen : OUR_DIRECTORY;
    char id[64] = "", path[4096];
    int file = raw_open(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = file < 0 ? -1 : read(file, id, sizeof id - 1);
    int directory;

    if (file >= 0)
        (void)close(file);
    if (n < 8)
        return;
    id[8] = 0;
    (void)snprintf(path, sizeof path, "%s/boot-%s", parent, id);
    (void)mkdir(parent, 0700);
    (void)mkdir(path, 0700);
    directory = raw_open(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (directory < 0)
        return;
    knowledge_directory = fcntl(directory, F_DUPFD_CLOEXEC, HIGH_FD);
    (void)close(directory);
    file = raw_open(knowledge_directory, KNOWLEDGE, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0)
        return;
    knowledge_ready = fcntl(file, F_DUPFD_CLOEXEC, HIGH_FD);
    (void)close(file);
}

/* Plugins are found through a descriptor, as their directory will be out of sight. */
static void keep_plugins(void)
{
    const char *path = getenv("CRIU_LIBS_DIR");
    char shown[64];
    int directory, kept;

    if (!path || strncmp(path, "/proc/", strlen("/proc/")) == 0)
        return;
    directory = raw_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    kept = directory < 0 ? -1 : fcntl(directory, F_DUPFD_CLOEXEC, HIGH_FD);
    if (kept < 0)
        _exit(INSIDE_FAILED);
    (void)close(directory);
    (void)snprintf(shown, sizeof shown, "/proc/self/fd/%d", kept);
    (void)setenv("CRIU_LIBS_DIR", shown, 1);
}

/* A descriptor named by the environment; -1: none. */
static int named_fd(const char *variable)
{
    const char *number = getenv(variable);
    char *end = NULL;
    long fd = number ? strtol(number, &end, 10) : -1;

    return end && end != number && *end == 0 && fd >= 0 && fd < 1 << 20 ? (int)fd : -1;
}

static void enter_users(void)
{
    int fd = named_fd(INSIDE_USERS_VARIABLE);

    if (fd < 0)
        return;
    (void)unsetenv(INSIDE_USERS_VARIABLE);
    if (setns(fd, CLONE_NEWUSER) < 0 || setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 ||
        setresuid(0, 0, 0) < 0)
        _exit(INSIDE_FAILED);
    (void)prctl(PR_SET_DUMPABLE, 1); /* else its own /proc/self is not its own */
    (void)close(fd);
}

__attribute__((constructor)) static void go_inside(void)
{
    int fd = named_fd(INSIDE_VARIABLE);

    (void)unsetenv("LD_PRELOAD");
    if (fd < 0)
        return;
    (void)unsetenv(INSIDE_VARIABLE);
    open_knowledge();
    keep_plugins();
    if (setns(fd, CLONE_NEWNS) < 0)
        _exit(INSIDE_FAILED);
    (void)close(fd);
    enter_users();
}

static const char *knowledge_name(const char *path)
{
    if (knowledge_directory < 0 ||
        strncmp(path, CRIU_DIRECTORY KNOWLEDGE, strlen(CRIU_DIRECTORY KNOWLEDGE)) != 0)
        return NULL;
    return path + strlen(CRIU_DIRECTORY);
}

static bool is_mount_table(const char *path)
{
    static const char name[] = "mountinfo";
    size_t length = strlen(path), wanted = sizeof name - 1;

    return length >= wanted && strcmp(path + length - wanted, name) == 0 &&
           (length == wanted || path[length - wanted - 1] == '/');
}

static char *read_all(int fd, size_t *ret_length)
{
    size_t length = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    ssize_t n;

    while (text && (n = read(fd, text + length, capacity - length)) > 0) {
        length += (size_t)n;
        if (length == capacity) {
            char *grown = capacity < TABLE_MAXIMUM ? realloc(text, capacity *= 2) : NULL;

            if (!grown)
                free(text);
            text = grown;
        }
    }
    *ret_length = length;
    return text;
}

/* Removes the last field of lines that are too long; returns the new length. */
static size_t shorten(char *text, size_t length)
{
    char *from = text, *end = text + length, *to = text;

    while (from < end) {
        char *newline = memchr(from, '\n', (size_t)(end - from));
        char *next = newline ? newline + 1 : end;
        size_t line = (size_t)(next - from);

        if (line > LINE_MAXIMUM && newline) {
            char *space = memrchr(from, ' ', line);
            size_t kept = space ? (size_t)(space - from) : 0;

            memmove(to, from, kept);
            to += kept;
            for (const char *rest = " rw\n"; *rest; rest++)
                *to++ = *rest;
        } else {
            memmove(to, from, line);
            to += line;
        }
        from = next;
    }
    return (size_t)(to - text);
}

static int write_table(const char *text, size_t length)
{
    int fd = memfd_create("mountinfo", MFD_CLOEXEC);
    size_t done = 0;

    while (fd >= 0 && done < length) {
        ssize_t n = write(fd, text + done, length - done);

        if (n < 0) {
            (void)close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    if (fd >= 0)
        (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

/* `fd` is given up for a copy in which every line can be read. */
static int readable_table(int fd)
{
    size_t length = 0;
    char *text = read_all(fd, &length);
    int copy = text ? write_table(text, shorten(text, length)) : -1;

    free(text);
    (void)close(fd);
    return copy;
}

static int open_as_meant(int directory, const char *path, int flags, mode_t mode)
{
    const char *name = knowledge_name(path);
    int fd;

    if (name && !(flags & O_CREAT) && knowledge_ready >= 0)
        return fcntl(knowledge_ready, F_DUPFD_CLOEXEC, 0);
    if (name) {
        fd = raw_open(knowledge_directory, name, flags | O_CLOEXEC, mode);
        if (flags & O_CREAT)
            knowledge_file = fd;
        return fd;
    }
    fd = raw_open(directory, path, flags, mode);
    if (fd >= 0 && is_mount_table(path))
        return readable_table(fd);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

EXPORTED int open64(const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_as_meant(AT_FDCWD, path, flags, mode);
}

EXPORTED int openat64(int directory, const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_as_meant(directory, path, flags, mode);
}

/* The system call that CRIU asks for a process's limits by. */
#if defined(__x86_64__)
static long raw_syscall(long number, const long a[6])
{
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static long raw_syscall(long number, const long a[6])
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a[0];
    register long x1 __asm__("x1") = a[1];
    register long x2 __asm__("x2") = a[2];
    register long x3 __asm__("x3") = a[3];
    register long x4 __asm__("x4") = a[4];
    register long x5 __asm__("x5") = a[5];

    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#else
#error "no system calls for this processor"
#endif

static rlim_t parse_limit(char **cursor)
{
    char *word = *cursor + strspn(*cursor, " ");

    *cursor = word + strcspn(word, " ");
    return strncmp(word, "unlimited", strlen("unlimited")) == 0 ? RLIM_INFINITY
                                                                : strtoull(word, NULL, 10);
}

/* /proc/<pid>/limits: a line of headings, then one for each limit, in the order of their numbers;
 * names are 25 characters wide. Whoever may trace a process may read it. */
static long read_limit(long pid, long resource, struct rlimit *ret)
{
    enum { NAME_WIDTH = 25 };
    char path[64], text[8192], *line = text;
    ssize_t length;
    int fd;

    (void)snprintf(path, sizeof path, "/proc/%ld/limits", pid);
    fd = raw_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -EPERM;
    length = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (length <= 0)
        return -EPERM;
    text[length] = 0;
    for (long i = 0; line && i <= resource; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    if (!line || strlen(line) <= NAME_WIDTH)
        return -EPERM;
    line += NAME_WIDTH;
    ret->rlim_cur = parse_limit(&line);
    ret->rlim_max = parse_limit(&line);
    return 0;
}

/* A detached /proc of the pid namespace, which the kernel refuses to root of a user namespace whose
 * own /proc is masked: the one that was mounted for that pid namespace by then does as well. */
static long stand_in_for_proc(long number, const long a[6], long result)
{
    static int proc = -1;

    if (number == SYS_fsopen && result == -EPERM && strcmp((const char *)a[0], "proc") == 0)
        return proc = raw_open(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (proc < 0 || a[0] != proc)
        return result;
    if (number == SYS_fsconfig)
        return 0;
    if (number == SYS_fsmount)
        return fcntl(proc, F_DUPFD_CLOEXEC, 0);
    return result;
}

EXPORTED long syscall(long number, ...)
{
    long arguments[6], result;
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    result = raw_syscall(number, arguments);
    if (result == -EPERM && number == SYS_prlimit64 && !arguments[2] && arguments[3])
        result = read_limit(arguments[0], arguments[1], (struct rlimit *)arguments[3]);
    if (number == SYS_fsopen || number == SYS_fsconfig || number == SYS_fsmount)
        result = stand_in_for_proc(number, arguments, result);
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

EXPORTED int fstatfs64(int fd, struct statfs64 *ret)
{
    int r = (int)syscall(SYS_fstatfs, fd, ret);

    if (r == 0 && fd == knowledge_file)
        ret->f_type = TMPFS_MAGIC;
    return r;
}

/* Only root of the whole machine may go over the maximum; root of a user namespace stays below. */
EXPORTED int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    int r = (int)syscall(SYS_setsockopt, fd, level, option, value, length);

    if (r == 0 || errno != EPERM || level != SOL_SOCKET ||
        (option != SO_SNDBUFFORCE && option != SO_RCVBUFFORCE))
        return r;
    option = option == SO_SNDBUFFORCE ? SO_SNDBUF : SO_RCVBUF;
    return (int)syscall(SYS_setsockopt, fd, level, option, value, length);
}

EXPORTED int rename(const char *from, const char *to)
{
    const char *from_name = knowledge_name(from), *to_name = knowledge_name(to);

    return (int)syscall(SYS_renameat2, from_name ? knowledge_directory : AT_FDCWD,
                        from_name ? from_name : from, to_name ? knowledge_directory : AT_FDCWD,
                        to_name ? to_name : to, 0);
}

EXPORTED int unlink(const char *path)
{
    const char *name = knowledge_name(path);

    return (int)syscall(SYS_unlinkat, name ? knowledge_directory : AT_FDCWD, name ? name : path, 0);
}
