/* SPDX-License-Identifier: Apache-2.0 */
/* Is the process that a runtime names the container's, and is it there? */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/record.h"
#include "proc/parse.h"
#include "proc/process.h"

enum { CGROUP_TEXT_MAXIMUM = 1 << 20 };

int record_not_running(const struct container *container, const char *why, struct error *error)
{
    (void)error_set(error, "container-not-running", 0, "The container %s is not running: %s",
                    container->id, why);
    return -ESRCH;
}

static int other_process(const struct container *container, const char *why, struct error *error)
{
    (void)error_set(error, "container-process", 0,
                    "Process %d is not the one of the container %s: %s", (int)container->pid,
                    container->id, why);
    return -ESRCH;
}

/* "/kubepods/pod1/abc" and "kubepods-pod1.slice:cri-containerd:abc" both end in what the last
 * directory of the control group is named after. */
static const char *last_part(const char *cgroups_path)
{
    const char *slash = strrchr(cgroups_path, '/'), *colon = strrchr(cgroups_path, ':');
    const char *last = colon > slash ? colon : slash;

    return last ? last + 1 : cgroups_path;
}

/* Whether a line of /proc/PID/cgroup tells that the process is in the control group that the spec
 * asks for. In a control group namespace the kernel shows paths from that on; when all it shows is
 * "/" nothing is known. */
static bool is_in_cgroup(char *text, const char *cgroups_path)
{
    const char *wanted = last_part(cgroups_path);
    bool hidden = true;
    char *line;

    while ((line = parse_line(&text))) {
        char *path = strchr(line, ':');

        path = path ? strchr(path + 1, ':') : NULL;
        if (path && strstr(path, wanted))
            return true;
        if (path && !text_equal(path + 1, "/"))
            hidden = false;
    }
    return hidden;
}

static int check_cgroup(const struct container *container, int directory, struct error *error)
{
    const char *wanted = record_text(json_object_get(container->spec, "linux"), "cgroupsPath");
    CLEANUP(free_ptr) char *text = NULL;

    if (!wanted || !*last_part(wanted))
        return 0;
    if (file_read(directory, "cgroup", CGROUP_TEXT_MAXIMUM, &text, NULL) < 0)
        return record_not_running(container, "its process has just ended", error);
    if (!is_in_cgroup(text, wanted))
        return other_process(container, "it is in another control group", error);
    return 0;
}

static bool file_says(const char *path, const char *answer)
{
    CLEANUP(free_ptr) char *text = NULL;

    return file_read(AT_FDCWD, path, 4096, &text, NULL) == 0 && text_starts_with(text, answer);
}

/* cgroups(7): version 2 has one line "0::PATH"; the freezer of version 1 is a hierarchy. */
static bool line_is_frozen(const char *line)
{
    const char *path = strchr(line, ':');
    CLEANUP(free_ptr) char *file = NULL;

    path = path ? strchr(path + 1, ':') : NULL;
    if (!path || strstr(path, "/../"))
        return false;
    path++;
    if (text_starts_with(line, "0::")) {
        file = text_format("/sys/fs/cgroup%s/cgroup.freeze", path);
        return file_says(file, "1");
    }
    if (!strstr(line, ":freezer:"))
        return false;
    file = text_format("/sys/fs/cgroup/freezer%s/freezer.state", path);
    return file_says(file, "FRO") || file_says(file, "FREEZING");
}

static bool is_frozen(int directory)
{
    CLEANUP(free_ptr) char *text = NULL;
    char *cursor, *line;

    if (file_read(directory, "cgroup", CGROUP_TEXT_MAXIMUM, &text, NULL) < 0)
        return false;
    cursor = text;
    while ((line = parse_line(&cursor))) {
        if (line_is_frozen(line))
            return true;
    }
    return false;
}

static int check_at(struct container *container, int directory, uint64_t start_time,
                    struct error *error)
{
    CLEANUP(process_done) struct process process = PROCESS_INIT;
    int r = process_read_at(directory, &process, NULL);

    if (r == -ESRCH || (r == 0 && (process.state == 'Z' || process.state == 'X')))
        return record_not_running(container, "its process has ended", error);
    if (r < 0)
        return error_set(error, "container-record", r, "Can't look at process %d of container %s",
                         (int)container->pid, container->id);
    if (start_time != 0 && process.start_time != start_time)
        return record_not_running(
            container, "its process has ended, and another one has the process id now", error);
    r = start_time ? 0 : check_cgroup(container, directory, error);
    if (r < 0)
        return r;
    container->start_time = process.start_time;
    if (container->state == CONTAINER_RUNNING && is_frozen(directory))
        container->state = CONTAINER_PAUSED;
    return 0;
}

int record_check_process(struct container *container, uint64_t start_time, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    int r;

    if (container->pid <= 0)
        return record_not_running(container, "it has no process", error);
    r = process_open(container->pid, &directory, NULL);
    if (r == -ESRCH)
        return record_not_running(container, "its process has ended", error);
    if (r < 0)
        return error_set(error, "container-record", r, "Can't look at process %d of container %s",
                         (int)container->pid, container->id);
    return check_at(container, directory, start_time, error);
}
