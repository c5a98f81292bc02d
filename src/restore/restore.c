/* SPDX-License-Identifier: Apache-2.0 */
#include "restore/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/installation.h"
#include "basic/text.h"
#include "criu/log.h"
#include "restore/state.h"
#include "workload/remap.h"
#include "workload/start.h"

static void choose_mode(struct restore *restore)
{
    restore->mode = restore->plan.captured_mode;
    if (restore->request->pids == RESTORE_PIDS_NEW)
        restore->mode = WORKLOAD_OWN_PIDS;
    else if (restore->request->pids == RESTORE_PIDS_SAME)
        restore->mode = WORKLOAD_HOST_PIDS;
}

static int at_point(const char *point, pid_t pid, void *context, struct error *error)
{
    struct restore *restore = context;

    (void)pid;
    if (!text_equal(point, "post-restore"))
        return 0;
    return restore_finish_processes(
        restore, restore->mode == WORKLOAD_OWN_PIDS ? restore->keeper.pid : 0, error);
}

static int claim_name(struct restore *restore, struct error *error)
{
    const char *root = restore->request->root;
    CLEANUP(free_ptr) char *path = NULL;

    restore->name = restore->request->name ? text_copy(restore->request->name)
                                           : workload_free_name(root, restore->plan.name);
    path = workload_path(root, restore->name, "");
    restore->record_is_new = access(path, F_OK) < 0;
    return workload_claim(root, restore->name, &restore->directory, &restore->lock, error);
}

static int open_files(struct restore *restore, struct error *error)
{
    int directory = snapshot_directory(restore->snapshot);
    CLEANUP(close_fd)
    int log = openat(restore->directory, "log",
                     O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    CLEANUP(free_ptr)
    char *label = text_format("%s-%s-restore-%d", snapshot_id(restore->snapshot),
                              snapshot_version(restore->snapshot), (int)getpid());

    restore->log_start = log < 0 ? 0 : (long)lseek(log, 0, SEEK_END);
    restore->images = file_open_beneath(directory, "criu", O_RDONLY | O_DIRECTORY, 0);
    if (restore->images < 0)
        return error_set(error, "snapshot-read", restore->images, "Can't open the images");
    restore->root_process = snapshot_open_file(restore->snapshot, "root-process");
    if (log < 0)
        return error_set(error, "system", errno, "Can't open the log of %s", restore->name);
    return restore_open_logs(restore, label, error);
}

/* Namespaces, shared memory and log are made, and CRIU is started in them. */
static int start_keeper(struct restore *restore, struct error *error)
{
    CLEANUP(free_ptr) char *log_path = workload_path(restore->request->root, restore->name, "log");
    struct keeper_begun begun;
    struct keeper_plan plan = {
        .mode = restore->mode,
        .private_shm = restore->mode == WORKLOAD_OWN_PIDS && restore->plan.private_shm,
        .own_network = restore->request->own_network,
        .stdio = restore->plan.needs_terminal ? STDIO_PTY : STDIO_LOG,
        .needs_pipe = restore->plan.needs_pipe,
        .log_path = log_path,
        .directory = restore->directory,
        .lock = restore->lock,
        .root_process = restore->root_process,
        .begin = restore_begin,
        .context = restore,
    };
    int r = criu_carrier_make(&restore->carrier_receiver, &restore->carrier_sender, error);

    if (r == 0)
        r = fault_point("restore-keeper", error);
    if (r == 0)
        r = keeper_start(&plan, &restore->keeper, &begun, error);
    close_fd(&restore->carrier_sender);
    close_fd(&restore->plugin);
    return r;
}

static void describe_workload(struct restore *restore)
{
    restore->workload = (struct workload){
        .name = text_copy(restore->name),
        .mode = restore->mode,
        .command = json_incref((json_t *)(uintptr_t)restore->plan.command),
        .snapshot = text_format("%s@%s", snapshot_id(restore->snapshot),
                                snapshot_version(restore->snapshot)),
        .stdio = text_copy(stdio_name(restore->plan.needs_terminal ? STDIO_PTY : STDIO_LOG)),
        .private_shm = restore->mode == WORKLOAD_OWN_PIDS && restore->plan.private_shm,
    };
}

/* It runs: written down, and left to its keeper. */
static int hand_over(struct restore *restore, pid_t root, struct error *error)
{
    struct keeper_begun begun = {.root = root,
                                 .main = root == restore->plan.root ? restore->plan.main : root};
    int r;

    describe_workload(restore);
    r = workload_describe(&restore->keeper, &begun, &restore->workload, error);
    if (r == 0)
        r = fault_point("restore-record", error);
    if (r == 0)
        r = workload_save(restore->directory, &restore->workload, error);
    if (r == 0)
        r = keeper_release(&restore->keeper, root, error);
    return r;
}

static const json_t *remaps_of(const struct restore *restore)
{
    return json_object_get(snapshot_manifest(restore->snapshot), "remaps");
}

static int restore_processes(struct restore *restore, struct error *error)
{
    pid_t root = -1;
    int r = start_keeper(restore, error);

    if (r < 0)
        return r;
    phases_next(&restore->phases, "restore");
    r = restore_run_criu(restore, at_point, &root, error);
    r = restore_conclude_cuda(restore, r, error);
    if (r == 0)
        r = fault_point("restore-resumed", error);
    if (r == 0)
        r = hand_over(restore, root, error);
    return r;
}

static void end_turn(struct restore *restore, int result)
{
    if (result < 0)
        keeper_done(&restore->keeper); /* and with it CRIU */
    remap_withdraw(remaps_of(restore));
    if (result < 0)
        remap_clear_ghosts(restore->images);
    (void)flock(restore->images, LOCK_UN);
}

static int bring_back(struct restore *restore, struct error *error)
{
    int r;

    phases_next(&restore->phases, "prepare");
    r = claim_name(restore, error);
    if (r == 0)
        r = open_files(restore, error);
    if (r == 0)
        r = restore_prepare_cuda(restore, error);
    if (r == 0)
        r = restore_take_turn(restore, error);
    if (r < 0)
        return r;
    r = remap_provide(remaps_of(restore), error);
    if (r == 0)
        r = restore_processes(restore, error);
    end_turn(restore, r);
    phases_end(&restore->phases);
    return r;
}

static void undo(struct restore *restore)
{
    keeper_done(&restore->keeper);
    if (restore->record_is_new && restore->directory >= 0)
        workload_forget(restore->request->root, restore->name);
}

static void tell(struct restore *restore, struct restore_result *ret_result,
                 struct keeper *ret_keeper)
{
    *ret_result = (struct restore_result){
        .workload = restore->workload,
        .log = workload_path(restore->request->root, restore->name, "log"),
        .log_start = restore->log_start,
        .reference = text_copy(restore->workload.snapshot),
        .seconds = phases_seconds(&restore->phases),
        .phases = json_incref(restore->phases.list),
    };
    restore->workload = WORKLOAD_INIT;
    *ret_keeper = restore->keeper;
    restore->keeper = KEEPER_INIT;
    restore_close_logs(restore);
}

int restore_run(const struct restore_request *request, struct restore_result *ret_result,
                struct keeper *ret_keeper, struct error *error)
{
    struct restore restore = RESTORE_INIT;
    int r;

    restore.request = request;
    phases_begin(&restore.phases, request->reporter);
    phases_next(&restore.phases, "check");
    r = restore_open(&restore, error);
    if (r == 0 && restore.plan.contained)
        r = error_set(error, "needs-container", EINVAL, "Snapshot %s",
                      snapshot_id(restore.snapshot));
    if (r == 0)
        r = criu_find(&restore.criu, error);
    if (r == 0) {
        choose_mode(&restore);
        r = restore_check(&restore, error);
    }
    if (r == 0)
        r = fault_point("restore-check", error);
    if (r == 0)
        r = bring_back(&restore, error);
    if (r == 0) {
        tell(&restore, ret_result, ret_keeper);
    } else {
        undo(&restore);
        restore_mention_logs(&restore, error);
    }
    restore_forget(&restore);
    return r;
}

void restore_result_done(struct restore_result *result)
{
    workload_done(&result->workload);
    free(result->log);
    free(result->reference);
    json_decref(result->phases);
    *result = (struct restore_result){0};
}
