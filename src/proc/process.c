/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/parse.h"

#define STATUS_MAX ((size_t)1 << 20)
#define COMMAND_MAX 4096
#define PIDS_MAX 4194304 /* the kernel's PID_MAX_LIMIT */

int process_error(struct error *error, int number, pid_t pid, const char *what)
{
    CLEANUP(free_ptr) char *name = pid ? text_format("process %d", (int)pid) : NULL;

    number = number < 0 ? -number : number;
    if (number == ESRCH || number == ENOENT)
        return error_set(error, "process-gone", ESRCH, "%s", name ? name : "the process");
    return error_set(error, "process-unreadable", number, "%s%sreading %s", name ? name : "",
                     name ? ": " : "", what);
}

int process_open(pid_t pid, int *ret_fd, struct error *error)
{
    char path[32];
    int fd;

    if (pid <= 0)
        return process_error(error, ESRCH, pid, "its directory");
    (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return process_error(error, errno, pid, "its directory");
    *ret_fd = fd;
    return 0;
}

/* The numbered fields of stat behind the name, the state (field 3) being the first. */
static int parse_stat_fields(char *cursor, struct process *process)
{
    uint64_t values[20];
    char *field = parse_field(&cursor);

    if (!field || strlen(field) != 1)
        return -EINVAL;
    process->state = *field;
    for (int i = 0; i < 19; i++) {
        field = parse_field(&cursor);
        if (!field)
            return -EINVAL;
        /* Priorities and a lost terminal are negative; none of them is kept. */
        if (parse_number(*field == '-' ? field + 1 : field, 10, &values[i]) < 0)
            return -EINVAL;
    }
    process->ppid = (pid_t)values[0];
    process->pgid = (pid_t)values[1];
    process->sid = (pid_t)values[2];
    process->terminal = (unsigned)values[3];
    process->kernel_thread = values[5] & 0x00200000; /* PF_KTHREAD */
    process->threads = (unsigned)values[16];
    process->start_time = values[18];
    return 0;
}

int process_parse_stat(char *text, struct process *process)
{
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    size_t length;

    if (!open || !close || close < open || open == text)
        return -EINVAL;
    open[-1] = 0;
    if (parse_pid(text, &process->pid) < 0)
        return -EINVAL;
    length = (size_t)(close - open - 1);
    if (length >= sizeof process->comm)
        length = sizeof process->comm - 1;
    memcpy(process->comm, open + 1, length);
    process->comm[length] = 0;
    return parse_stat_fields(close + 1, process);
}

static pid_t last_pid(const char *value)
{
    const char *last = strrchr(value, '\t');
    pid_t pid = 0;

    (void)parse_pid(last ? last + 1 : value, &pid);
    return pid;
}

static int parse_levels(char *value, struct process *process)
{
    unsigned count = 0;
    char *field;

    while ((field = parse_field(&value))) {
        if (count == PROCESS_PID_LEVELS || parse_pid(field, &process->level_pids[count]) < 0)
            return -EINVAL;
        count++;
    }
    if (count == 0)
        return -EINVAL;
    process->pid_depth = count;
    process->inner_pid = process->level_pids[count - 1];
    return 0;
}

/* The second (effective) of the four ids of a Uid or Gid line. */
static unsigned effective_id(const char *value)
{
    value += strcspn(value, " \t");
    return (unsigned)parse_leading_number(value);
}

static uint64_t kibibytes(const char *value)
{
    uint64_t bytes;

    if (__builtin_mul_overflow(parse_leading_number(value), (uint64_t)1024, &bytes))
        return UINT64_MAX;
    return bytes;
}

static uint64_t signals(const char *value)
{
    uint64_t mask = 0;

    (void)parse_number(value, 16, &mask);
    return mask;
}

static int parse_status_line(char *line, struct process *process)
{
    const char *value;

    if ((value = parse_value(line, "NSpid")))
        return parse_levels((char *)(uintptr_t)value, process);
    if ((value = parse_value(line, "NSpgid")))
        process->inner_pgid = last_pid(value);
    else if ((value = parse_value(line, "NSsid")))
        process->inner_sid = last_pid(value);
    else if ((value = parse_value(line, "TracerPid")))
        (void)parse_pid(value, &process->tracer);
    else if ((value = parse_value(line, "Uid")))
        process->uid = effective_id(value);
    else if ((value = parse_value(line, "Gid")))
        process->gid = effective_id(value);
    else if ((value = parse_value(line, "CapEff")))
        (void)parse_number(value, 16, &process->capabilities);
    else if ((value = parse_value(line, "SigPnd")) || (value = parse_value(line, "ShdPnd")))
        process->pending |= signals(value);
    else if ((value = parse_value(line, "Seccomp")))
        process->seccomp = (int)parse_leading_number(value);
    else if ((value = parse_value(line, "VmRSS")))
        process->rss_bytes = kibibytes(value);
    else if ((value = parse_value(line, "RssAnon")))
        process->rss_anonymous_bytes = kibibytes(value);
    else if ((value = parse_value(line, "RssShmem")))
        process->rss_shared_bytes = kibibytes(value);
    else if ((value = parse_value(line, "VmSwap")))
        process->swap_bytes = kibibytes(value);
    return 0;
}

int process_parse_status(char *text, struct process *process)
{
    char *line;

    process->pid_depth = 0;
    process->pending = 0;
    while ((line = parse_line(&text))) {
        int r = parse_status_line(line, process);

        if (r < 0)
            return r;
    }
    if (process->pid_depth == 0) { /* a kernel without pid namespaces */
        process->pid_depth = 1;
        process->level_pids[0] = process->inner_pid = process->pid;
        process->inner_pgid = process->pgid;
        process->inner_sid = process->sid;
    }
    return 0;
}

void process_parse_command(char *data, size_t length, struct process *process)
{
    while (length > 0 && data[length - 1] == 0)
        length--;
    free(process->command);
    if (length == 0) {
        process->command = text_format("[%s]", process->comm);
        return;
    }
    process->command = allocate(length + 1);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)data[i];

        /* Arguments are printed on terminals: nothing may steer one. */
        process->command[i] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
}

/* cmdline has any size: its start says enough. */
static void read_command(int directory, struct process *process)
{
    CLEANUP(close_fd) int fd = openat(directory, "cmdline", O_RDONLY | O_CLOEXEC);
    char data[COMMAND_MAX];
    size_t length = 0;

    while (fd >= 0 && length < sizeof data) {
        ssize_t n = read(fd, data + length, sizeof data - length);

        if (n <= 0)
            break;
        length += (size_t)n;
    }
    process_parse_command(data, length, process);
}

int process_read_at(int directory, struct process *ret, struct error *error)
{
    CLEANUP(free_ptr) char *stat = NULL;
    CLEANUP(free_ptr) char *status = NULL;
    struct process process = PROCESS_INIT;
    int r = file_read(directory, "stat", STATUS_MAX, &stat, NULL);

    if (r == 0)
        r = file_read(directory, "status", STATUS_MAX, &status, NULL);
    if (r == 0)
        r = process_parse_stat(stat, &process);
    if (r == 0)
        r = process_parse_status(status, &process);
    if (r < 0)
        return process_error(error, r, process.pid, "stat and status");
    read_command(directory, &process);
    *ret = process;
    return 0;
}

int process_read(pid_t pid, struct process *ret, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    int r = process_open(pid, &directory, error);

    if (r < 0)
        return r;
    r = process_read_at(directory, ret, error);
    if (r == -ESRCH)
        return process_error(error, ESRCH, pid, "it");
    return r;
}

void process_done(struct process *process)
{
    free(process->command);
    *process = PROCESS_INIT;
}

bool process_same(const struct process *a, const struct process *b)
{
    return a->pid == b->pid && a->start_time == b->start_time;
}

bool process_alive(const struct process *process)
{
    struct process now = PROCESS_INIT;
    bool alive = process_read(process->pid, &now, NULL) == 0 && process_same(process, &now) &&
                 now.state != 'Z' && now.state != 'X';

    process_done(&now);
    return alive;
}

static int compare_pids(const void *a, const void *b)
{
    pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;

    return (left > right) - (left < right);
}

/* The names of a directory that are numbers. Consumes `fd`. */
static int list_numbers(int fd, pid_t **ret_numbers, size_t *ret_count)
{
    CLEANUP(free_ptr) pid_t *numbers = NULL;
    CLEANUP(close_directory) DIR *stream = fdopendir(fd);
    size_t count = 0, capacity = 0;
    struct dirent *entry;

    if (!stream) {
        int r = -errno;

        (void)close(fd);
        return r;
    }
    while (errno = 0, (entry = readdir(stream))) {
        pid_t number;

        if (parse_pid(entry->d_name, &number) < 0)
            continue;
        if (count == capacity) {
            size_t larger = capacity ? 2 * capacity : 64;
            pid_t *grown = larger > 2 * PIDS_MAX ? NULL : realloc(numbers, larger * sizeof *grown);

            if (!grown)
                return -ENOMEM;
            numbers = grown;
            capacity = larger;
        }
        numbers[count++] = number;
    }
    if (errno)
        return -errno;
    if (count)
        qsort(numbers, count, sizeof *numbers, compare_pids);
    *ret_numbers = numbers ? STEAL_PTR(numbers) : allocate(sizeof *numbers);
    *ret_count = count;
    return 0;
}

int process_threads(int directory, pid_t **ret_threads, size_t *ret_count, struct error *error)
{
    int fd = openat(directory, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : list_numbers(fd, ret_threads, ret_count);

    if (r < 0)
        return process_error(error, r, 0, "its threads");
    return 0;
}

int process_list(pid_t **ret_pids, size_t *ret_count, struct error *error)
{
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : list_numbers(fd, ret_pids, ret_count);

    if (r < 0)
        return error_set(error, "process-unreadable", r, "listing /proc");
    return 0;
}
