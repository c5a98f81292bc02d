/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/attributes.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

enum { IOPRIO_WHO_PROCESS = 1, DEFAULT_SLACK = 50000, INNER_TEXT_MAXIMUM = 65536 };

/* The id of a thread in its innermost pid namespace: the last number of "NSpid:". */
static pid_t inner_tid(pid_t pid, pid_t tid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/task/%d/status", (int)pid, (int)tid);
    CLEANUP(free_ptr) char *text = NULL;
    char *line, *tab;
    int id = tid;

    if (file_read(AT_FDCWD, path, INNER_TEXT_MAXIMUM, &text, NULL) < 0)
        return tid;
    line = strstr(text, "\nNSpid:");
    if (!line)
        return tid;
    line++;
    line[strcspn(line, "\n")] = 0;
    tab = strrchr(line, '\t');
    return tab && text_to_int(tab + 1, &id) == 0 ? id : tid;
}

/* "0,2,5" */
static char *cpus_text(const cpu_set_t *set)
{
    struct buffer text = BUFFER_INIT(16384);

    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, set))
            (void)buffer_printf(&text, "%s%d", text.length ? "," : "", cpu);
    }
    return text.data ? text.data : text_copy("");
}

static bool cpus_parse(const char *text, cpu_set_t *set)
{
    CLEANUP(free_ptr) char *copy = text_copy(text);
    char *rest = NULL;
    int cpu;

    CPU_ZERO(set);
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (text_to_int(word, &cpu) < 0 || cpu < 0 || cpu >= CPU_SETSIZE)
            return false;
        CPU_SET(cpu, set);
    }
    return true;
}

static void read_affinity(pid_t tid, const cpu_set_t *usual, json_t *entry)
{
    cpu_set_t set;

    if (sched_getaffinity(tid, sizeof set, &set) == 0 && !CPU_EQUAL(&set, usual)) {
        CLEANUP(free_ptr) char *text = cpus_text(&set);

        (void)json_object_set_new(entry, "cpus", json_string(text));
    }
}

static void read_slack(pid_t tid, json_t *entry)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/timerslack_ns", (int)tid);
    CLEANUP(free_ptr) char *text = NULL;
    uint64_t slack;

    if (file_read(AT_FDCWD, path, 64, &text, NULL) < 0)
        return;
    text[strcspn(text, "\n")] = 0;
    if (text_to_uint64(text, &slack) == 0 && slack != DEFAULT_SLACK)
        (void)json_object_set_new(entry, "slack", json_integer((json_int_t)slack));
}

static void read_ioprio(pid_t tid, json_t *entry)
{
    long priority = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid);

    /* Class "none" is what every process has until it asks for something. */
    if (priority > 0 && (priority >> 13) != 0)
        (void)json_object_set_new(entry, "ioprio", json_integer(priority));
}

static void read_thread(pid_t pid, pid_t tid, const cpu_set_t *usual, json_t *list)
{
    json_t *entry = json_object();

    read_affinity(tid, usual, entry);
    read_slack(tid, entry);
    read_ioprio(tid, entry);
    if (json_object_size(entry) > 0) {
        (void)json_object_set_new(entry, "tid", json_integer(inner_tid(pid, tid)));
        (void)json_array_append(list, entry);
    }
    json_decref(entry);
}

void attributes_read(pid_t pid, json_t *list)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/task", (int)pid);
    CLEANUP(close_directory) DIR *tasks = opendir(path);
    struct dirent *task;
    cpu_set_t usual;
    int tid;

    (void)sched_getaffinity(0, sizeof usual, &usual);
    while (tasks && (task = readdir(tasks))) {
        if (text_to_int(task->d_name, &tid) == 0)
            read_thread(pid, tid, &usual, list);
    }
}

static unsigned read_personality(pid_t pid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/personality", (int)pid);
    CLEANUP(free_ptr) char *text = NULL;

    if (file_read(AT_FDCWD, path, 64, &text, NULL) < 0)
        return 0;
    return (unsigned)strtoul(text, NULL, 16);
}

bool attributes_has_personality(pid_t pid)
{
    return read_personality(pid) != 0;
}

unsigned attributes_personality(const pid_t *pids, size_t count)
{
    /* Flags that change how memory is mapped would change what CRIU itself maps. */
    const unsigned safe = UNAME26 | ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | STICKY_TIMEOUTS |
                          WHOLE_SECONDS | SHORT_INODE;
    unsigned common = count > 0 ? read_personality(pids[0]) : 0;

    for (size_t i = 1; i < count; i++) {
        if (read_personality(pids[i]) != common)
            return 0;
    }
    return common & ~safe ? 0 : common;
}

static int apply_cpus(pid_t tid, const char *text)
{
    cpu_set_t wanted, here, both;

    if (!text)
        return 0;
    if (!cpus_parse(text, &wanted) || sched_getaffinity(tid, sizeof here, &here) < 0)
        return -EINVAL;
    CPU_AND(&both, &wanted, &here);
    if (CPU_COUNT(&both) == 0)
        return 0; /* none of them is on this machine: anywhere is better than nowhere */
    return sched_setaffinity(tid, sizeof wanted, &wanted) < 0 ? -errno : 0;
}

static int apply_slack(pid_t tid, const json_t *value)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/timerslack_ns", (int)tid);
    CLEANUP(free_ptr) char *text = NULL;
    CLEANUP(close_fd) int fd = -1;

    if (!value)
        return 0;
    text = text_format("%lld", (long long)json_integer_value(value));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
}

static int apply_thread(const json_t *entry)
{
    pid_t tid = (pid_t)json_integer_value(json_object_get(entry, "tid"));
    const json_t *priority = json_object_get(entry, "ioprio");
    int r;

    if (tid <= 0)
        return -EINVAL;
    r = apply_cpus(tid, json_string_value(json_object_get(entry, "cpus")));
    if (r == 0)
        r = apply_slack(tid, json_object_get(entry, "slack"));
    if (r == 0 && priority &&
        syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, (int)json_integer_value(priority)) < 0)
        r = -errno;
    return r;
}

static int apply_all(const json_t *list)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
        r = apply_thread(json_array_get(list, i));
    return r;
}

static int enter(pid_t inside)
{
    static const char *const kinds[] = {"pid", "mnt"};

    for (size_t i = 0; i < 2; i++) {
        CLEANUP(free_ptr) char *path = text_format("/proc/%d/ns/%s", (int)inside, kinds[i]);
        CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || setns(fd, 0) < 0)
            return -errno;
    }
    return 0;
}

static int wait_for(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* Ids mean something to processes of their pid namespace only: a child of a child is one. */
static int apply_inside(const json_t *list, pid_t inside)
{
    pid_t pid = fork();
    int r;

    if (pid < 0)
        return -errno;
    if (pid > 0)
        return wait_for(pid);
    r = enter(inside);
    if (r == 0) {
        pid = fork();
        if (pid == 0)
            _exit(-apply_all(list) & 255);
        r = pid < 0 ? -errno : wait_for(pid);
    }
    _exit(-r & 255);
}

int attributes_apply(const json_t *list, pid_t inside, struct error *error)
{
    int r;

    if (json_array_size(list) == 0)
        return 0;
    r = inside ? apply_inside(list, inside) : apply_all(list);
    return r < 0 ? error_set(error, "attributes", r, "Can't give threads their attributes") : 0;
}
