/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/ending.h"

#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/parse.h"

enum {
    EXITING = 4,          /* PF_EXITING of the kernel */
    FLAGS_AFTER_NAME = 8, /* the name's closing parenthesis is the first field here */
};

/* Counted from behind the name, which may contain anything. */
static bool is_exiting(int tasks, const char *tid)
{
    CLEANUP(free_ptr) char *path = text_format("%s/stat", tid);
    CLEANUP(free_ptr) char *text = NULL;
    char *rest, *field = NULL;
    uint64_t flags = 0;

    if (file_read(tasks, path, 4096, &text, NULL) < 0)
        return true;
    rest = strrchr(text, ')');
    for (int i = 0; rest && i < FLAGS_AFTER_NAME; i++)
        field = parse_field(&rest);
    return !field || parse_number(field, 10, &flags) < 0 || flags & EXITING;
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

bool process_is_ending(pid_t pid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/task", (int)pid);
    CLEANUP(close_directory) DIR *tasks = opendir(path);
    const struct dirent *entry;

    while (tasks && (entry = readdir(tasks))) {
        if (entry->d_name[0] != '.' && !is_exiting(dirfd(tasks), entry->d_name) &&
            !has_kill_pending(dirfd(tasks), entry->d_name))
            return false;
    }
    return true;
}
