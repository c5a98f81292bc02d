/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs. The vendor's libraries are loaded in leaf processes only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/leaf.h"
#include "basic/text.h"
#include "cuda/devices.h"
#include "cuda/driver.h"
#include "doctor/machine.h"
#include "doctor/small-file.h"

/* What the leaf process tells: plain data. */
struct driver_answer {
    bool opened;
    char description[128];
    bool functions[6];
    bool device_map;
    bool custom_storage;
    char problem[512];
};

static const char *const function_names[] = {
    "get-restore-thread-id", "get-state", "lock", "checkpoint", "restore", "unlock",
};

static void describe_driver(struct driver_answer *answer)
{
    struct cuda_driver driver = {0};
    struct error error = ERROR_INIT;
    CLEANUP(free_ptr) char *description = NULL;

    if (cuda_driver_open(&driver, &error) < 0) {
        (void)strncpy(answer->problem, error.message, sizeof answer->problem - 1);
        error_done(&error);
        return;
    }
    answer->opened = true;
    description = cuda_driver_describe(&driver);
    (void)strncpy(answer->description, description, sizeof answer->description - 1);
    answer->functions[0] = driver.checkpoint_get_restore_thread_id != NULL;
    answer->functions[1] = driver.checkpoint_get_state != NULL;
    answer->functions[2] = driver.checkpoint_lock != NULL;
    answer->functions[3] = driver.checkpoint_checkpoint != NULL;
    answer->functions[4] = driver.checkpoint_restore != NULL;
    answer->functions[5] = driver.checkpoint_unlock != NULL;
    answer->device_map = cuda_driver_require_device_map(&driver, NULL) == 0;
    answer->custom_storage = driver.custom_storage;
}

static int answer_driver(int socket, void *context)
{
    struct driver_answer answer = {0};

    (void)context;
    describe_driver(&answer);
    return send(socket, &answer, sizeof answer, MSG_NOSIGNAL) == sizeof answer ? 0 : 1;
}

static int ask_driver(struct driver_answer *ret_answer)
{
    CLEANUP(leaf_done) struct leaf leaf = LEAF_INIT;
    int r = leaf_start(answer_driver, NULL, true, &leaf, NULL);

    if (r < 0)
        return r;
    if (recv(leaf.socket, ret_answer, sizeof *ret_answer, 0) != sizeof *ret_answer)
        return -EIO;
    ret_answer->description[sizeof ret_answer->description - 1] = 0;
    ret_answer->problem[sizeof ret_answer->problem - 1] = 0;
    return leaf_finish(&leaf) == 0 ? 0 : -EIO;
}

/* Is there anything of the vendor on this machine? */
static bool has_hardware(void)
{
    return access("/dev/nvidiactl", F_OK) == 0 || access("/proc/driver/nvidia/version", F_OK) == 0;
}

static void examine_functions(const struct driver_answer *answer, struct findings *findings)
{
    CLEANUP(buffer_done) struct buffer lacking = BUFFER_INIT(1024);

    for (size_t i = 0; i < sizeof function_names / sizeof function_names[0]; i++) {
        if (!answer->functions[i])
            (void)buffer_printf(&lacking, "%s%s", lacking.length ? ", " : "", function_names[i]);
    }
    if (lacking.length)
        findings_add(findings, "gpu-checkpoint", FINDING_WARNING,
                     "The driver (%s) can't checkpoint; it lacks: %s", answer->description,
                     lacking.data);
    else
        findings_add(findings, "gpu-checkpoint", FINDING_OK,
                     "The driver can lock, checkpoint, restore and unlock processes");
    if (answer->device_map)
        findings_add(findings, "gpu-device-map", FINDING_OK,
                     "Snapshots can move to another GPU (device map)");
    else
        findings_add(findings, "gpu-device-map", FINDING_NOTE,
                     "Snapshots can't move to another GPU (no device map)");
    findings_add(findings, "gpu-custom-storage", answer->custom_storage ? FINDING_OK : FINDING_NOTE,
                 "The driver %s device memory to its caller (custom storage)",
                 answer->custom_storage ? "hands" : "does not hand");
}

/* Whether the driver works. */
static bool examine_driver(struct findings *findings)
{
    struct driver_answer answer = {0};
    int r = ask_driver(&answer);

    if (r < 0) {
        findings_add(findings, "gpu-driver", FINDING_WARNING,
                     "The driver's library crashed while it was looked at");
        return false;
    }
    if (!answer.opened) {
        findings_add(findings, "gpu-driver", FINDING_WARNING, "%s", answer.problem);
        return false;
    }
    findings_add(findings, "gpu-driver", FINDING_OK, "Driver %s", answer.description);
    examine_functions(&answer, findings);
    return true;
}

static void examine_gpu(const struct cuda_gpu *gpu, struct findings *findings)
{
    CLEANUP(free_ptr) char *memory = text_bytes(gpu->memory);
    CLEANUP(free_ptr) char *available = text_bytes(gpu->memory_free);

    findings_add(findings, "gpu", FINDING_OK, "%s, %s, %s free, %s", gpu->name, memory,
                 gpu->memory_free ? available : "?", gpu->uuid);
    if (gpu->mig == 1)
        findings_add(findings, "gpu-mig", FINDING_WARNING, "%s is cut into MIG instances",
                     gpu->uuid);
    if (gpu->persistence == 0)
        findings_add(findings, "gpu-persistence", FINDING_NOTE, "%s has persistence mode off",
                     gpu->uuid);
    if (gpu->compute_mode > 0)
        findings_add(findings, "gpu-compute-mode", FINDING_WARNING,
                     "%s is in compute mode %d (exclusive or prohibited)", gpu->uuid,
                     gpu->compute_mode);
}

static bool is_mps(const char *pid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%s/comm", pid);
    CLEANUP(free_ptr) char *comm = small_file_line(path);

    return comm && text_starts_with(comm, "nvidia-cuda-mps");
}

static void examine_mps(struct findings *findings)
{
    CLEANUP(close_directory) DIR *directory = opendir("/proc");
    struct dirent *entry;
    int pid;

    while (directory && (entry = readdir(directory))) {
        if (text_to_int(entry->d_name, &pid) == 0 && is_mps(entry->d_name)) {
            findings_add(findings, "gpu-mps", FINDING_WARNING, "MPS runs (process %d)", pid);
            return;
        }
    }
}

static void examine_devices(struct findings *findings)
{
    struct cuda_devices devices = {0};
    struct error error = ERROR_INIT;

    if (cuda_devices_probe(&devices, &error) < 0) {
        findings_add(findings, "gpu", FINDING_WARNING, "%s", error.message);
        error_done(&error);
        return;
    }
    for (size_t i = 0; i < devices.count && i < CUDA_GPUS_MAX; i++)
        examine_gpu(&devices.gpus[i], findings);
    if (devices.count == 0)
        findings_add(findings, "gpu", FINDING_NOTE, "The driver sees no GPU");
}

void examine_gpus(struct findings *findings)
{
    if (!has_hardware() && !getenv("STASIS_LIBCUDA")) {
        findings_add(findings, "gpu-none", FINDING_NOTE,
                     "No NVIDIA driver; snapshots are of CPU workloads only");
        return;
    }
    if (!examine_driver(findings))
        return;
    examine_devices(findings);
    examine_mps(findings);
}
