/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "cuda/device-map.h"
#include "cuda/devices.h"
#include "proc/process.h"
#include "restore/state.h"

/* A killed tree leaves zombies until their parent has reaped them, and with them their ids. */
enum { ZOMBIE_PATIENCE_MSEC = 5000 };

static int check_architecture(const json_t *manifest, struct error *error)
{
    const char *recorded =
        json_string_value(json_object_get(json_object_get(manifest, "source"), "architecture"));
    struct utsname system;

    if (uname(&system) < 0 || text_equal(recorded, system.machine))
        return 0;
    return error_set(error, "other-architecture", ENOEXEC,
                     "The snapshot was taken on %s, this machine is %s",
                     recorded ? recorded : "an unknown processor", system.machine);
}

static bool id_in_use(pid_t id)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d", (int)id);

    return access(path, F_OK) == 0;
}

static int check_pid(pid_t pid, uint64_t deadline, struct error *error)
{
    struct process process = PROCESS_INIT;
    int r;

    while (id_in_use(pid) && clock_now_usec() < deadline) {
        if (process_read(pid, &process, NULL) == 0 && process.state != 'Z')
            deadline = 0; /* somebody lives there: waiting is of no use */
        process_done(&process);
        clock_sleep_msec(20);
    }
    if (!id_in_use(pid))
        return 0;
    r = process_read(pid, &process, NULL);
    r = error_set(error, "pid-taken", EEXIST, "Process id %d is in use (%s)", (int)pid,
                  r == 0 && process.command ? process.command : "unknown");
    process_done(&process);
    return r;
}

/* An id lives on as the id of a group or session whose members do. */
static bool is_group_of(const struct restore_plan *plan, const struct process *process)
{
    for (size_t i = 0; i < plan->pid_count; i++) {
        if (process->pgid == plan->pids[i] || process->sid == plan->pids[i])
            return true;
    }
    return false;
}

/* A process that still belongs to a group or session of the snapshot; 0: none. */
static pid_t find_member(const struct restore_plan *plan, bool *ret_zombie)
{
    CLEANUP(free_ptr) pid_t *pids = NULL;
    size_t count = 0;
    pid_t found = 0;

    if (process_list(&pids, &count, NULL) < 0)
        return 0;
    for (size_t i = 0; i < count && !found; i++) {
        struct process process = PROCESS_INIT;

        if (process_read(pids[i], &process, NULL) == 0 && is_group_of(plan, &process)) {
            found = pids[i];
            *ret_zombie = process.state == 'Z';
        }
        process_done(&process);
    }
    return found;
}

static int check_groups(const struct restore *restore, uint64_t deadline, struct error *error)
{
    bool zombie = false;
    pid_t member;

    while ((member = find_member(&restore->plan, &zombie)) > 0) {
        if (!zombie || clock_now_usec() >= deadline)
            return error_set(error, "pid-taken", EEXIST,
                             "Process %d is still a member of a process group or session of the "
                             "snapshot",
                             (int)member);
        clock_sleep_msec(20);
    }
    return 0;
}

static int check_pids(const struct restore *restore, struct error *error)
{
    uint64_t deadline = clock_now_usec() + (uint64_t)ZOMBIE_PATIENCE_MSEC * 1000;
    int r = 0;

    if (restore->mode == WORKLOAD_OWN_PIDS || restore->plan.contained)
        return 0;
    if (restore->plan.captured_mode == WORKLOAD_OWN_PIDS)
        return error_set(error, "pid-taken", EEXIST,
                         "The processes had ids of their own (from 2 up), which this machine's "
                         "processes have taken");
    for (size_t i = 0; r == 0 && i < restore->plan.pid_count; i++)
        r = check_pid(restore->plan.pids[i], deadline, error);
    if (r == 0)
        r = check_groups(restore, deadline, error);
    return r;
}

static size_t recorded_gpus(const json_t *cuda, struct cuda_gpu *gpus)
{
    const json_t *list = json_object_get(cuda, "gpus");
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(list) && count < CUDA_GPUS_MAX; i++) {
        const json_t *entry = json_array_get(list, i);
        const char *uuid = json_string_value(json_object_get(entry, "uuid"));
        const char *name = json_string_value(json_object_get(entry, "name"));

        if (!json_is_true(json_object_get(entry, "used")) || !uuid || !name)
            continue;
        gpus[count] = (struct cuda_gpu){
            .memory = (uint64_t)json_integer_value(json_object_get(entry, "memory"))};
        (void)snprintf(gpus[count].uuid, sizeof gpus[count].uuid, "%s", uuid);
        (void)snprintf(gpus[count].name, sizeof gpus[count].name, "%s", name);
        count++;
    }
    return count;
}

static int choose_device_map(struct restore *restore, const struct cuda_gpu *recorded, size_t count,
                             const struct cuda_devices *present, struct error *error)
{
    struct cuda_device_map map = CUDA_DEVICE_MAP_INIT;
    int r;

    if (restore->request->device_map) {
        r = cuda_device_map_parse(restore->request->device_map, &map, error);
        if (r == 0)
            r = cuda_device_map_check(&map, recorded, count, present->gpus, present->count, error);
    } else {
        r = cuda_device_map_automatic(recorded, count, present->gpus, present->count, &map, error);
    }
    if (r == 0 && map.count > 0)
        restore->device_map = cuda_device_map_format(&map);
    cuda_device_map_done(&map);
    return r;
}

static int check_gpus(struct restore *restore, struct error *error)
{
    const json_t *cuda = json_object_get(snapshot_manifest(restore->snapshot), "cuda");
    struct cuda_devices *present;
    struct cuda_gpu *recorded;
    int r;

    if (restore->plan.cuda_count == 0)
        return 0;
    present = allocate(sizeof *present);
    recorded = allocate(CUDA_GPUS_MAX * sizeof *recorded);
    r = cuda_devices_probe(present, error);
    if (r == 0)
        r = choose_device_map(restore, recorded, recorded_gpus(cuda, recorded), present, error);
    free(recorded);
    free(present);
    return r;
}

int restore_check(struct restore *restore, struct error *error)
{
    int r = check_architecture(snapshot_manifest(restore->snapshot), error);

    if (r == 0 && restore->plan.tcp == TCP_CLOSE && restore->request->tcp_given &&
        restore->request->tcp == TCP_KEEP)
        r = error_set(error, "tcp-not-saved", EOPNOTSUPP, "%s", snapshot_id(restore->snapshot));

    if (r == 0)
        r = check_pids(restore, error);
    if (r == 0 && !restore->plan.contained) /* whose network and files are other ones */
        r = restore_check_names(restore, error);
    if (r == 0)
        r = check_gpus(restore, error);
    return r;
}
