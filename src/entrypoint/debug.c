/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/debug.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/text.h"
#include "entrypoint/say.h"
#include "entrypoint/signals.h"

enum { PAUSE_SECONDS = 300, PROGRAM_SECONDS = 20, LOOK_MSEC = 100 };

static void run_bounded(char *const *arguments, const sigset_t *before)
{
    uint64_t start = clock_now_usec();
    pid_t child = fork();
    bool killed = false;

    if (child == 0) {
        (void)sigprocmask(SIG_SETMASK, before, NULL);
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        (void)execvp(arguments[0], arguments);
        say("DEBUG: there is no %s", arguments[0]);
        _exit(127);
    }
    while (child > 0 && waitpid(child, NULL, WNOHANG) == 0) {
        if (!killed && clock_seconds_since(start) > PROGRAM_SECONDS)
            killed = kill(child, SIGKILL) == 0;
        clock_sleep_msec(LOOK_MSEC);
    }
}

static void list_devices(void)
{
    CLEANUP(close_directory) DIR *devices = opendir("/dev");
    const struct dirent *entry;
    unsigned count = 0;

    while (devices && (entry = readdir(devices))) {
        if (!text_starts_with(entry->d_name, "nvidia"))
            continue;
        say("DEBUG: /dev/%s", entry->d_name);
        count++;
    }
    if (count == 0)
        say("DEBUG: there is no /dev/nvidia*");
}

static void list_namespaces(void)
{
    static const char *const names[] = {"cgroup", "ipc",  "mnt",  "net",
                                        "pid",    "time", "user", "uts"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CLEANUP(free_ptr) char *path = text_format("/proc/1/ns/%s", names[i]);
        char target[64];
        ssize_t n = readlink(path, target, sizeof target - 1);

        target[n > 0 ? n : 0] = 0;
        say("DEBUG: namespace %s", n > 0 ? target : names[i]);
    }
}

void debug_describe(const sigset_t *before)
{
    static const char *const variables[] = {"NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"};
    char *const listing[] = {(char *)"nvidia-smi", (char *)"-L", NULL};
    char *const memory[] = {(char *)"nvidia-smi", (char *)"--query-gpu=memory.used,memory.total",
                            (char *)"--format=csv", NULL};

    run_bounded(listing, before);
    run_bounded(memory, before);
    list_devices();
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = getenv(variables[i]);

        say("DEBUG: %s %s%s", variables[i], value ? "is " : "is not set", value ? value : "");
    }
    list_namespaces();
}

int debug_pause(const sigset_t *waited)
{
    const struct timespec pause = {.tv_nsec = LOOK_MSEC * 1000000L};
    uint64_t start = clock_now_usec();

    say("DEBUG is set: for %d seconds nothing happens, so that you can look into this container",
        PAUSE_SECONDS);
    while (clock_seconds_since(start) < PAUSE_SECONDS) {
        int number = sigtimedwait(waited, NULL, &pause);

        if (signal_asks_for_an_end(number))
            return number;
    }
    return 0;
}
