/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/frozen.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/container.h"
#include "criu/images.h"
#include "proc/ending.h"
#include "workload/attributes.h"
#include "workload/keeper.h"
#include "workload/remap.h"
#include "workload/shared-memory.h"

static int save_root_process(struct capture *capture, struct error *error)
{
    CLEANUP(free_ptr)
    char *path = text_format("/proc/%d/root" KEEPER_ROOT_PROCESS, (int)capture->inside);
    CLEANUP(free_ptr) char *program = NULL;
    size_t length = 0;
    int r = file_read(AT_FDCWD, path, 16 << 20, &program, &length);

    if (r == -ENOENT)
        return 0; /* started without one */
    if (r == 0)
        r = file_write_atomic(snapshot_writer_directory(capture->writer), "root-process", program,
                              length);
    return r < 0 ? error_set(error, r == -ENOSPC ? "disk-full" : "snapshot-write", r,
                             "Can't save the root process")
                 : 0;
}

static int save_shm(struct capture *capture, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/root/dev/shm", (int)capture->inside);
    CLEANUP(close_fd) int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0)
        return error_set(error, "shm-save", errno, "Can't open %s", path);
    return shared_memory_save(directory, snapshot_writer_directory(capture->writer), NULL, error);
}

static int keep_deleted_files(struct capture *capture, struct error *error)
{
    CLEANUP(free_ptr)
    char *prefix =
        capture->inside ? text_format("/proc/%d/root", (int)capture->inside) : text_copy("");
    bool private_shm = capture->inside && capture->workload.private_shm;

    struct remap_request request = {
        .images = capture->images,
        .snapshot = snapshot_writer_directory(capture->writer),
        .prefix = prefix,
        .skip = private_shm ? "/dev/shm/" : NULL,
        .id = snapshot_writer_id(capture->writer),
        .version = snapshot_writer_version(capture->writer),
    };

    return remap_keep(&request, &capture->remaps, error);
}

static void read_attributes(struct capture *capture)
{
    capture->attributes = json_array();
    for (size_t i = 0; i < capture->tree.count; i++)
        attributes_read(capture->tree.processes[i].pid, capture->attributes);
}

/* A copy would find the order to end in its queue, and follow it as soon as it ran. */
static int check_orders(const struct capture *capture, struct error *error)
{
    const struct process *main = capture_main(capture);
    const char *order;
    uint64_t pending = 0;
    int r = criu_image_pending_signals(capture->images, capture_inner_pid(capture, main), &pending,
                                       error);

    if (r < 0)
        return r;
    order = signal_that_ends(pending);
    return order ? error_set(error, "workload-ending", 0,
                             "Process %d was sent %s before it was frozen", (int)main->pid, order)
                 : 0;
}

int capture_save_surroundings(struct capture *capture, struct error *error)
{
    int r = fault_point("capture-surroundings", error);

    if (r < 0)
        return r;
    r = check_orders(capture, error);
    if (r == 0)
        r = criu_image_mend(capture->images, error);
    read_attributes(capture);
    if (capture->contained) {
        if (r == 0)
            r = capture_container_check_names(capture, error);
        if (r == 0)
            r = capture_container_save(capture, error);
        capture_container_tidy(capture->images, capture->view.root);
        return r;
    }
    if (r == 0)
        r = keep_deleted_files(capture, error);
    if (r < 0 || !capture->inside)
        return r;
    r = save_root_process(capture, error);
    if (r == 0 && capture->workload.private_shm)
        r = save_shm(capture, error);
    return r;
}

int capture_publish(struct capture *capture, struct error *error)
{
    json_t *manifest;
    int r = fault_point("capture-seal", error);

    phases_next(&capture->phases, "checksums");
    if (r == 0)
        r = snapshot_writer_seal(capture->writer, 0, NULL, error);
    phases_next(&capture->phases, "publish");
    if (r == 0)
        r = fault_point("capture-publish", error);
    if (r < 0)
        return r;
    manifest = capture_describe(capture);
    if (!manifest)
        return error_set(error, "snapshot-manifest", ENOMEM, "Can't describe the snapshot");
    r = snapshot_writer_publish(capture->writer, manifest, error);
    json_decref(manifest);
    if (r == 0)
        r = fault_point("capture-published", error);
    return r;
}

void capture_mark_saved(struct capture *capture, const char *reference)
{
    CLEANUP(free_ptr)
    char *path = workload_path(capture->request->root, capture->workload.name, "");
    CLEANUP(close_fd) int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0 || text_equal(capture->workload.saved, reference))
        return;
    free(capture->workload.saved);
    capture->workload.saved = reference ? text_copy(reference) : NULL;
    (void)workload_save(directory, &capture->workload, NULL);
}

int capture_let_go(struct capture *capture, struct error *error)
{
    CLEANUP(free_ptr)
    char *reference = text_format("%s@%s", snapshot_writer_id(capture->writer),
                                  snapshot_writer_version(capture->writer));
    int r = capture_check_held(capture, error);

    if (r == 0 && capture->managed)
        capture_mark_saved(capture, reference);
    if (r == 0 && capture->cuda_count > 0)
        r = cuda_worker_commit(capture->cuda, error);
    if (r == 0)
        r = fault_point("capture-let-go", error);
    capture->let_go = r == 0;
    /* The first process of a pid namespace can't be ended from within, where CRIU is. CRIU ends
     * with it. */
    if (r == 0 && capture->contained)
        (void)kill(capture->root, SIGKILL);
    return r;
}
