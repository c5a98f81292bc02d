/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/cuda.h"

#include <stdlib.h>

#include "basic/cleanup.h"
#include "basic/fault.h"
#include "basic/text.h"
#include "cuda/devices.h"

int capture_cuda_find(struct capture *capture, struct error *error)
{
    CLEANUP(free_ptr) pid_t *candidates = allocate((capture->tree.count + 1) * sizeof *candidates);
    size_t count = 0;
    int r;

    for (size_t i = 0; i < capture->tree.count; i++) {
        if (capture_maps_cuda(capture->tree.processes[i].pid))
            candidates[count++] = capture->tree.processes[i].pid;
    }
    if (count == 0)
        return 0;
    r = cuda_worker_start(&capture->cuda, error);
    if (r == 0)
        r = cuda_worker_find(capture->cuda, candidates, count, &capture->cuda_processes,
                             &capture->cuda_count, error);
    return r;
}

/* A GPU counts as used when one of the tree's CUDA processes has its device open. */
static bool is_used(const struct capture *capture, const struct cuda_gpu *gpu)
{
    for (size_t i = 0; i < capture->cuda_count; i++) {
        int minors[CUDA_GPUS_MAX];
        int n = cuda_process_minors("/proc", capture->cuda_processes[i].pid, minors, CUDA_GPUS_MAX);

        for (int k = 0; k < n; k++) {
            if (minors[k] == gpu->minor)
                return true;
        }
    }
    return false;
}

static json_t *describe_gpus(const struct capture *capture, const struct cuda_devices *devices)
{
    json_t *gpus = json_array();

    for (size_t i = 0; i < devices->count; i++) {
        const struct cuda_gpu *gpu = &devices->gpus[i];

        (void)json_array_append_new(gpus, json_pack("{ss ss sI sb}", "uuid", gpu->uuid, "name",
                                                    gpu->name, "memory", (json_int_t)gpu->memory,
                                                    "used", (int)is_used(capture, gpu)));
    }
    return gpus;
}

static json_t *describe_processes(const struct capture *capture)
{
    json_t *list = json_array();

    for (size_t i = 0; i < capture->cuda_count; i++) {
        const struct process *process =
            process_tree_find(&capture->tree, capture->cuda_processes[i].pid);

        if (process)
            (void)json_array_append_new(list, json_pack("{si ss}", "pid",
                                                        (int)capture_inner_pid(capture, process),
                                                        "memory_path", "staged"));
    }
    return list;
}

static bool any_mig(const struct cuda_devices *devices)
{
    for (size_t i = 0; i < devices->count; i++) {
        if (devices->gpus[i].mig == 1)
            return true;
    }
    return false;
}

int capture_cuda_describe(struct capture *capture, struct preflight_request *question,
                          struct error *error)
{
    struct cuda_devices *devices;
    pid_t *pids;
    int r;

    if (capture->cuda_count == 0)
        return 0;
    devices = allocate(sizeof *devices);
    r = cuda_devices_probe(devices, error);
    if (r == 0) {
        capture->cuda_facts =
            json_pack("{ss so so}", "driver", devices->driver_version, "gpus",
                      describe_gpus(capture, devices), "processes", describe_processes(capture));
        question->mig = any_mig(devices);
        pids = allocate(capture->cuda_count * sizeof *pids);
        for (size_t i = 0; i < capture->cuda_count; i++)
            pids[i] = capture->cuda_processes[i].pid;
        capture->cuda_pids = pids;
        question->cuda_pids = pids;
        question->cuda_count = capture->cuda_count;
    }
    free(devices);
    return r;
}

int capture_cuda_lock(struct capture *capture, unsigned timeout_seconds, struct error *error)
{
    int r = 0;

    if (capture->cuda_count > 0)
        r = cuda_worker_lock(capture->cuda, capture->cuda_processes, capture->cuda_count,
                             timeout_seconds * 1000, error);
    if (r == 0)
        r = fault_point("capture-locked", error);
    return r;
}

int capture_cuda_conclude(struct capture *capture, int result, struct error *error)
{
    struct error cause = ERROR_INIT;
    double seconds = 0;
    int r = cuda_worker_plugin_result(capture->cuda, &seconds, &cause);

    if (r < 0 && result < 0 && !error_is(error ? error : &cause, "injected")) {
        if (error)
            error_done(error);
        error_move(error, &cause);
        return r;
    }
    if (r < 0 && result == 0) {
        error_move(error, &cause);
        return r;
    }
    error_done(&cause);
    capture->cuda_seconds = seconds;
    return result;
}
