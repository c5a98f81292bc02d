/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/adopted.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

enum { FILE_MAXIMUM = 1 << 20 };

unsigned adopted_depth(const char *text, pid_t *ret_innermost)
{
    static const char field[] = "\nNSpid:";
    const char *at = strstr(text, field);
    unsigned depth = 0;

    if (!at)
        return 0;
    at += strlen(field);
    while (*at == '\t') {
        char *end;

        *ret_innermost = (pid_t)strtol(at + 1, &end, 10);
        at = end;
        depth++;
    }
    return depth;
}

static unsigned depth_of(const char *name, pid_t *ret_innermost)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%s/status", name);
    CLEANUP(free_ptr) char *text = NULL;

    if (file_read(AT_FDCWD, path, FILE_MAXIMUM, &text, NULL) < 0)
        return 0;
    return adopted_depth(text, ret_innermost);
}

bool adopted_can_be_told(void)
{
    pid_t innermost;

    return depth_of("self", &innermost) > 0;
}

static bool is_below(const char *name, pid_t *ret_innermost)
{
    pid_t own;
    unsigned depth = depth_of(name, ret_innermost);

    return depth > 0 && depth == depth_of("self", &own) + 1;
}

static bool is_first_restored(const char *name)
{
    pid_t innermost = 0;

    return is_below(name, &innermost) && innermost == 1;
}

static bool is_child(pid_t pid)
{
    siginfo_t information;

    return pid > 0 && waitid(P_PID, (id_t)pid, &information, WEXITED | WNOHANG | WNOWAIT) == 0;
}

pid_t adopted_find(pid_t named)
{
    CLEANUP(free_ptr) char *text = NULL;
    char *rest = NULL;
    int pid;

    if (is_child(named))
        return named;
    if (file_read(AT_FDCWD, "/proc/thread-self/children", FILE_MAXIMUM, &text, NULL) < 0)
        return 0;
    for (char *word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        if (text_to_int(word, &pid) == 0 && is_first_restored(word))
            return pid;
    }
    return 0;
}

bool adopted_is_near(void)
{
    CLEANUP(close_directory) DIR *processes = opendir("/proc");
    const struct dirent *entry;
    pid_t innermost;
    int pid;

    while (processes && (entry = readdir(processes))) {
        if (text_to_int(entry->d_name, &pid) == 0 && is_below(entry->d_name, &innermost))
            return true;
    }
    return false;
}

pid_t adopted_reap(pid_t named)
{
    for (;;) {
        siginfo_t information = {.si_pid = 0};
        CLEANUP(free_ptr) char *name = NULL;

        if (waitid(P_ALL, 0, &information, WEXITED | WNOHANG | WNOWAIT) < 0) {
            if (errno == EINTR)
                continue;
            return 0;
        }
        if (information.si_pid == 0)
            return 0;
        name = text_format("%d", (int)information.si_pid);
        if (information.si_pid == named || is_first_restored(name))
            return information.si_pid;
        (void)waitpid(information.si_pid, NULL, 0);
    }
}
