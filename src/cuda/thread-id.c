/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/thread-id.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

/* The numbers behind "NSpid:" in a status or fdinfo file. */
static int levels_parse(const char *text, struct pid_levels *ret_levels)
{
    const char *line = strstr(text, "\nNSpid:");
    struct pid_levels levels = {.count = 0};
    char *end;

    if (!line)
        return -ESRCH;
    line += strlen("\nNSpid:");
    while (levels.count < PID_LEVELS_MAX && *line && *line != '\n') {
        long id = strtol(line, &end, 10);

        if (end == line)
            break;
        if (id <= 0)
            return -ESRCH;
        levels.ids[levels.count++] = (pid_t)id;
        line = end;
    }
    if (levels.count == 0)
        return -ESRCH;
    *ret_levels = levels;
    return 0;
}

static int levels_read(const char *path, struct pid_levels *ret_levels)
{
    CLEANUP(free_ptr) char *text = NULL;
    size_t length;
    int result = file_read(AT_FDCWD, path, 65536, &text, &length);

    if (result < 0)
        return result == -ENOENT ? -ESRCH : result;
    return levels_parse(text, ret_levels);
}

int pid_levels_of(pid_t pid, pid_t tid, struct pid_levels *ret_levels)
{
    CLEANUP(free_ptr)
    char *path = tid ? text_format("/proc/%d/task/%d/status", (int)pid, (int)tid)
                     : text_format("/proc/%d/status", (int)pid);

    return levels_read(path, ret_levels);
}

int pid_levels_of_pidfd(int pidfd, struct pid_levels *ret_levels)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/self/fdinfo/%d", pidfd);

    return levels_read(path, ret_levels);
}

int thread_id_to_outer(pid_t pid, pid_t tid, pid_t *ret_tid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/task", (int)pid);
    CLEANUP(close_directory) DIR *directory = opendir(path);
    struct pid_levels levels;
    struct dirent *entry;

    if (pid_levels_of(pid, tid, &levels) == 0) {
        *ret_tid = tid;
        return 0;
    }
    while (directory && (entry = readdir(directory)) != NULL) {
        int outer;

        if (text_to_int(entry->d_name, &outer) < 0 || pid_levels_of(pid, outer, &levels) < 0)
            continue;
        if (levels.ids[levels.count - 1] == tid) {
            *ret_tid = outer;
            return 0;
        }
    }
    return -ESRCH;
}

int pidfd_of(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : fd;
}

int pidfd_ended(int pidfd)
{
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLIN) ? 1 : 0;
}
