/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An owner of a CUDA worker that a test drives by lines on standard input, one answer a line:
 * "ok …" or "error CODE RESULT MESSAGE". It starts CRIU too, so that killing this program (or its
 * process group) is what happens when a capture is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "cuda/devices.h"
#include "cuda/plugin-protocol.h"
#include "cuda/state.h"
#include "cuda/worker.h"

enum { WORDS_MAX = 128 };

static struct cuda_worker *worker;
static struct cuda_process *processes;
static size_t process_count;
static int plugin_fd = -1;
static pid_t criu = -1;

static void answer(int result, struct error *error, const char *text)
{
    if (result < 0)
        (void)printf("error %s %d %s\n", error->code ? error->code : "-", result,
                     error->message ? error->message : "-");
    else
        (void)printf("ok %s\n", text ? text : "");
    (void)fflush(stdout);
    error_done(error);
}

static int number_read(const char *word)
{
    int number = 0;

    (void)text_to_int(word, &number);
    return number;
}

static size_t pids_read(char **words, size_t count, pid_t *pids)
{
    for (size_t i = 0; i < count; i++)
        pids[i] = number_read(words[i]);
    return count;
}

static void command_find(char **words, size_t count)
{
    struct error error = ERROR_INIT;
    pid_t pids[WORDS_MAX];
    char line[4096] = "";
    int result;

    free(processes);
    processes = NULL;
    process_count = 0;
    (void)pids_read(words, count, pids);
    result = cuda_worker_find(worker, pids, count, &processes, &process_count, &error);
    for (size_t i = 0; i < process_count && result == 0; i++)
        (void)snprintf(line + strlen(line), sizeof line - strlen(line), "%d:%d ",
                       (int)processes[i].pid, (int)processes[i].restore_tid);
    answer(result, &error, line);
}

static void command_states(void)
{
    struct error error = ERROR_INIT;
    int states[WORDS_MAX] = {0}, result;
    pid_t pids[WORDS_MAX];
    char line[4096] = "";

    for (size_t i = 0; i < process_count; i++)
        pids[i] = processes[i].pid;
    result = cuda_worker_states(worker, pids, process_count, states, &error);
    for (size_t i = 0; i < process_count && result == 0; i++)
        (void)snprintf(line + strlen(line), sizeof line - strlen(line), "%s ",
                       cuda_state_name(states[i]));
    answer(result, &error, line);
}

static void command_restore_plugin(char **words, size_t count)
{
    struct error error = ERROR_INIT;
    pid_t pids[WORDS_MAX];
    const char *map = strcmp(words[0], "-") == 0 ? NULL : words[0];

    (void)pids_read(words + 1, count - 1, pids);
    answer(cuda_worker_plugin_for_restore(worker, pids, count - 1, map, &plugin_fd, &error), &error,
           NULL);
}

/* Only what CRIU is to have is inherited by it. */
static void command_criu(char **words, size_t count)
{
    CLEANUP(free_ptr) char *number = text_format("%d", plugin_fd);
    CLEANUP(free_ptr) char *pid = NULL;
    struct error error = ERROR_INIT;

    words[count] = NULL;
    criu = fork();
    if (criu == 0) {
        if (plugin_fd >= 0) {
            (void)setenv(PLUGIN_SOCKET_VARIABLE, number, 1);
            (void)fd_set_inherited(plugin_fd, true);
        }
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        (void)execvp(words[0], words);
        _exit(127);
    }
    close_fd(&plugin_fd);
    pid = text_format("%d", (int)criu);
    answer(0, &error, pid);
}

static void command_wait(void)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct error error = ERROR_INIT;
    int status = 0;

    while (waitpid(criu, &status, 0) < 0 && errno == EINTR)
        ;
    text = WIFEXITED(status) ? text_format("exit %d", WEXITSTATUS(status))
                             : text_format("signal %d", WTERMSIG(status));
    answer(0, &error, text);
}

static void command_result(void)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct error error = ERROR_INIT;
    double seconds = 0;
    int result = cuda_worker_plugin_result(worker, &seconds, &error);

    text = text_format("%s", seconds > 0 ? "worked" : "idle");
    answer(result, &error, text);
}

static void command_devices(void)
{
    static struct cuda_devices devices;
    struct error error = ERROR_INIT;
    char line[8192] = "";
    int result = cuda_devices_probe(&devices, &error);

    for (size_t i = 0; i < devices.count && result == 0; i++) {
        const struct cuda_gpu *gpu = &devices.gpus[i];

        (void)snprintf(line + strlen(line), sizeof line - strlen(line), "%s|%s|%llu|%d|%d|%d|%d; ",
                       gpu->uuid, gpu->name, (unsigned long long)gpu->memory, gpu->minor, gpu->mig,
                       gpu->persistence, gpu->compute_mode);
    }
    (void)snprintf(line + strlen(line), sizeof line - strlen(line), "driver %s",
                   devices.driver_version);
    answer(result, &error, line);
}

/* The worker's own process: the only child while CRIU does not run. */
static void command_worker_pid(void)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/self/task/%d/children", (int)getpid());
    CLEANUP(free_ptr) char *text = NULL;
    struct error error = ERROR_INIT;
    size_t length;
    int result;

    result = file_read(AT_FDCWD, path, 4096, &text, &length);
    answer(result, &error, text);
}

static void simple_command(const char *name, char **words, size_t count)
{
    struct error error = ERROR_INIT;
    int result = -EINVAL;

    if (strcmp(name, "start") == 0)
        result = cuda_worker_start(&worker, &error);
    else if (strcmp(name, "deadline") == 0 && count == 1) {
        cuda_worker_set_deadline(worker, (unsigned)number_read(words[0]));
        result = 0;
    } else if (strcmp(name, "lock") == 0 && count == 1)
        result = cuda_worker_lock(worker, processes, process_count, (unsigned)number_read(words[0]),
                                  &error);
    else if (strcmp(name, "checkpoint") == 0)
        result = cuda_worker_checkpoint(worker, processes, process_count, &error);
    else if (strcmp(name, "restore") == 0)
        result =
            cuda_worker_restore(worker, processes, process_count, count ? words[0] : NULL, &error);
    else if (strcmp(name, "unlock") == 0)
        result = cuda_worker_unlock(worker, processes, process_count, &error);
    else if (strcmp(name, "capture-plugin") == 0)
        result =
            cuda_worker_plugin_for_capture(worker, processes, process_count, &plugin_fd, &error);
    else if (strcmp(name, "commit") == 0)
        result = cuda_worker_commit(worker, &error);
    else if (strcmp(name, "roll-back") == 0)
        result = cuda_worker_roll_back(worker, &error);
    else if (strcmp(name, "free") == 0) {
        cuda_worker_free(worker);
        worker = NULL;
        result = 0;
    }
    answer(result, &error, NULL);
}

static void command_do(char **words, size_t count)
{
    if (strcmp(words[0], "find") == 0)
        command_find(words + 1, count - 1);
    else if (strcmp(words[0], "states") == 0)
        command_states();
    else if (strcmp(words[0], "restore-plugin") == 0 && count > 1)
        command_restore_plugin(words + 1, count - 1);
    else if (strcmp(words[0], "criu") == 0)
        command_criu(words + 1, count - 1);
    else if (strcmp(words[0], "wait") == 0)
        command_wait();
    else if (strcmp(words[0], "result") == 0)
        command_result();
    else if (strcmp(words[0], "devices") == 0)
        command_devices();
    else if (strcmp(words[0], "worker-pid") == 0)
        command_worker_pid();
    else
        simple_command(words[0], words + 1, count - 1);
}

int main(void)
{
    char *words[WORDS_MAX + 1], line[8192];

    while (fgets(line, sizeof line, stdin)) {
        size_t count = 0;
        char *rest = NULL;

        for (char *word = strtok_r(line, " \n", &rest); word && count < WORDS_MAX;
             word = strtok_r(NULL, " \n", &rest))
            words[count++] = word;
        if (count > 0)
            command_do(words, count);
    }
    cuda_worker_free(worker);
    free(processes);
    return 0;
}
