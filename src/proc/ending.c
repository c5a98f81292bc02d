/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/ending.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/parse.h"

enum {
    EXITING = 4,          /* PF_EXITING of the kernel */
    FLAGS_AFTER_NAME = 8, /* the name's closing parenthesis is the first field here */
    STATUS_AFTER_NAME = 51,
    END_ROUNDS = 2000,
    END_STEP_MSEC = 5,
};

/* Counted from behind the name, which may contain anything. */
static int read_field(int directory, const char *id, int after_name, uint64_t *ret_number)
{
    CLEANUP(free_ptr) char *path = text_format("%s/stat", id);
    CLEANUP(free_ptr) char *text = NULL;
    char *rest, *field = NULL;
    int r = file_read(directory, path, 4096, &text, NULL);

    if (r < 0)
        return r;
    rest = strrchr(text, ')');
    if (rest)
        rest[strcspn(rest, "\n")] = 0;
    for (int i = 0; rest && i < after_name; i++)
        field = parse_field(&rest);
    return field ? parse_number(field, 10, ret_number) : -EINVAL;
}

static bool is_exiting(int tasks, const char *tid)
{
    uint64_t flags = 0;

    return read_field(tasks, tid, FLAGS_AFTER_NAME, &flags) < 0 || flags & EXITING;
}

int process_await_end(pid_t pid, int timeout_msec, int *ret_status)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d", (int)pid);
    CLEANUP(close_fd) int process = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd wait = {.fd = process, .events = POLLIN};
    uint64_t status = 0;
    int r;

    if (process < 0)
        return -errno;
    r = poll(&wait, 1, timeout_msec);
    if (r <= 0)
        return r < 0 ? -errno : 0;
    if (read_field(AT_FDCWD, path, STATUS_AFTER_NAME, &status) < 0)
        return -ESRCH;
    *ret_status = (int)status;
    return 1;
}

char *process_end_text(int status)
{
    if (WIFEXITED(status))
        return text_format("with status %d", WEXITSTATUS(status));
    return text_format("by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
}

static bool has_kill_pending(int tasks, const char *tid)
{
    static const char *const names[] = {"SigPnd:", "ShdPnd:"};
    CLEANUP(free_ptr) char *path = text_format("%s/status", tid);
    CLEANUP(free_ptr) char *text = NULL;

    if (file_read(tasks, path, 65536, &text, NULL) < 0)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = strstr(text, names[i]);

        if (value && strtoull(value + strlen(names[i]), NULL, 16) >> (SIGKILL - 1) & 1)
            return true;
    }
    return false;
}

const char *signal_that_ends(uint64_t pending)
{
    static const struct {
        int number;
        const char *name;
    } ends[] = {{SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}, {SIGQUIT, "SIGQUIT"}};

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (pending >> (ends[i].number - 1) & 1)
            return ends[i].name;
    }
    return NULL;
}

bool process_is_ending(pid_t pid)
{
    CLEANUP(close_fd) int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return process_is_ending_at(proc, pid);
}

bool process_is_ending_at(int proc, pid_t pid)
{
    CLEANUP(free_ptr) char *path = text_format("%d/task", (int)pid);
    int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_directory) DIR *tasks = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    while (tasks && (entry = readdir(tasks))) {
        if (entry->d_name[0] != '.' && !is_exiting(dirfd(tasks), entry->d_name) &&
            !has_kill_pending(dirfd(tasks), entry->d_name))
            return false;
    }
    return true;
}

static bool lives_in(int proc, const char *pid, uint64_t mount_namespace)
{
    CLEANUP(free_ptr) char *path = text_format("%s/ns/mnt", pid);
    struct stat st;

    return fstatat(proc, path, &st, 0) == 0 && (uint64_t)st.st_ino == mount_namespace;
}

static unsigned end_round(int proc, uint64_t mount_namespace, pid_t spared)
{
    int again = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_directory) DIR *directory = again < 0 ? NULL : fdopendir(again);
    const struct dirent *entry;
    unsigned ended = 0;
    int pid;

    while (directory && (entry = readdir(directory))) {
        if (text_to_int(entry->d_name, &pid) < 0 || pid == getpid() || pid == spared ||
            !lives_in(proc, entry->d_name, mount_namespace))
            continue;
        if (kill(pid, SIGKILL) == 0)
            ended++;
    }
    return ended;
}

unsigned processes_end_in(int proc, uint64_t mount_namespace, pid_t spared)
{
    unsigned total = 0;

    for (int round = 0; round < END_ROUNDS; round++) {
        unsigned ended = end_round(proc, mount_namespace, spared);

        if (ended == 0)
            break;
        total = round == 0 ? ended : total;
        clock_sleep_msec(END_STEP_MSEC);
    }
    return total;
}
