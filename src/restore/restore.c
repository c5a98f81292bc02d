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
#include "basic/interrupt.h"
#include "basic/text.h"
#include "criu/log.h"
#include "restore/state.h"
#include "workload/attributes.h"
#include "workload/logs.h"
#include "workload/remap.h"
#include "workload/start.h"

enum { TURN_STEP_MSEC = 5 };

/* Everything small is checked before CRIU sees it; bulk contents while CRIU works with them. */
static int open_and_verify(struct restore *restore, struct error *error)
{
    struct verify_report report = VERIFY_REPORT_INIT;
    int r = snapshot_open(restore->request->root, restore->request->reference, &restore->snapshot,
                          error);

    if (r == 0)
        r = fault_point("restore-verify", error);
    if (r == 0)
        r = snapshot_verify(restore->snapshot, VERIFY_METADATA, 0, &report, NULL, error);
    if (r == 0)
        r = verify_report_check(&report, error);
    verify_report_done(&report);
    if (r == 0 && !restore->request->skip_verify)
        r = snapshot_verify_start(restore->snapshot, VERIFY_BULK, 0, &restore->verification, error);
    if (r == 0)
        r = restore_plan_read(snapshot_manifest(restore->snapshot), &restore->plan, error);
    return r;
}

static void choose_mode(struct restore *restore)
{
    restore->mode = restore->plan.captured_mode;
    if (restore->request->pids == RESTORE_PIDS_NEW)
        restore->mode = WORKLOAD_OWN_PIDS;
    else if (restore->request->pids == RESTORE_PIDS_SAME)
        restore->mode = WORKLOAD_HOST_PIDS;
}

/* The bulk files were read while CRIU restored; nothing runs on contents that are not right. */
static int join_verification(struct restore *restore, struct error *error)
{
    struct verify_report report = VERIFY_REPORT_INIT;
    int r;

    if (!restore->verification)
        return 0;
    r = snapshot_verify_finish(restore->verification, &report, error);
    if (r == 0)
        r = verify_report_check(&report, error);
    verify_report_done(&report);
    return r;
}

static int at_point(const char *point, pid_t pid, void *context, struct error *error)
{
    struct restore *restore = context;
    int r;

    (void)pid;
    if (!text_equal(point, "post-restore"))
        return 0;
    phases_next(&restore->phases, "checksums");
    r = interrupt_check(error);
    if (r == 0)
        r = fault_point("restore-restored", error);
    if (r == 0)
        r = join_verification(restore, error);
    if (r == 0)
        r = attributes_apply(json_object_get(snapshot_manifest(restore->snapshot), "attributes"),
                             restore->mode == WORKLOAD_OWN_PIDS ? restore->keeper.pid : 0, error);
    phases_next(&restore->phases, restore->plan.cuda_count ? "cuda" : "resume");
    return r;
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
    return logs_open(restore->request->root, label, &restore->work_path, &restore->work, error);
}

static int prepare_cuda(struct restore *restore, struct error *error)
{
    int r;

    if (restore->plan.cuda_count == 0)
        return 0;
    r = installation_find(PART_PLUGINS, &restore->plugins, error);
    if (r == 0)
        r = cuda_worker_start(&restore->cuda, error);
    if (r == 0)
        r = cuda_worker_plugin_for_restore(restore->cuda, restore->plan.cuda_pids,
                                           restore->plan.cuda_count, restore->device_map,
                                           &restore->plugin, error);
    return r;
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

static struct criu_inherited_fd *inherited_keys(const struct restore_plan *plan)
{
    struct criu_inherited_fd *keys = allocate((plan->stand_in_count + 1) * sizeof *keys);

    for (size_t i = 0; i < plan->stand_in_count; i++)
        keys[i].key = (char *)(uintptr_t)plan->stand_ins[i].key;
    return keys;
}

static int run_criu(struct restore *restore, pid_t *ret_root, struct error *error)
{
    CLEANUP(free_ptr) struct criu_inherited_fd *keys = inherited_keys(&restore->plan);
    CLEANUP(close_fd) int socket = -1;
    struct criu_restore request = {
        .shell_job = restore->plan.shell_job,
        .tcp = restore->request->tcp_given ? restore->request->tcp : restore->plan.tcp,
        .inherited = keys,
        .inherited_count = restore->plan.stand_in_count,
        .timeout_seconds = restore->request->timeout_seconds,
        .log_level = 2,
    };
    int r = criu_carrier_receive(restore->carrier_receiver, &socket, error);

    if (r == 0)
        r = criu_restore(socket, &request, at_point, restore, ret_root, error);
    if (r < 0)
        criu_log_explain(restore->work, CRIU_RESTORE_LOG, error);
    return r;
}

/* CRIU swallows what went wrong with a device; the worker remembers. */
static int conclude_cuda(struct restore *restore, int result, struct error *error)
{
    struct error cause = ERROR_INIT;
    int r;

    if (restore->plan.cuda_count == 0)
        return result;
    r = cuda_worker_plugin_result(restore->cuda, NULL, &cause);
    if (r < 0 && (result == 0 || !error || text_starts_with(error->code, "criu-"))) {
        if (error)
            error_done(error);
        error_move(error, &cause);
        return r;
    }
    error_done(&cause);
    return result;
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
    r = run_criu(restore, &root, error);
    r = conclude_cuda(restore, r, error);
    if (r == 0)
        r = fault_point("restore-resumed", error);
    if (r == 0)
        r = hand_over(restore, root, error);
    return r;
}

/* While CRIU brings back a deleted file it has a name for a moment, the same each time: so restores
 * of such a snapshot take turns. CRIU shares the description that is locked: a turn lasts until it
 * has ended, whatever becomes of us. */
static int take_turn(struct restore *restore, struct error *error)
{
    int r = 0;

    if (faccessat(restore->images, "remap-fpath.img", F_OK, 0) < 0)
        return 0;
    while (r == 0 && flock(restore->images, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        clock_sleep_msec(TURN_STEP_MSEC);
        r = interrupt_check(error);
    }
    if (r == 0)
        remap_clear_ghosts(restore->images);
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
        r = prepare_cuda(restore, error);
    if (r == 0)
        r = take_turn(restore, error);
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
    (void)directory_remove_all(AT_FDCWD, restore->work_path);
}

static void forget(struct restore *restore)
{
    snapshot_verify_free(restore->verification);
    cuda_worker_free(restore->cuda);
    restore_plan_done(&restore->plan);
    snapshot_free(restore->snapshot);
    workload_done(&restore->workload);
    criu_installation_done(&restore->criu);
    close_fd(&restore->directory);
    close_fd(&restore->lock);
    close_fd(&restore->images);
    close_fd(&restore->work);
    close_fd(&restore->root_process);
    close_fd(&restore->plugin);
    close_fd(&restore->carrier_receiver);
    close_fd(&restore->carrier_sender);
    free(restore->work_path);
    free(restore->plugins);
    free(restore->device_map);
    free(restore->name);
    phases_done(&restore->phases);
}

static void mention_logs(const struct restore *restore, struct error *error)
{
    char *whole;

    if (!error || !error->code || !restore->work_path)
        return;
    if (unlinkat(AT_FDCWD, restore->work_path, AT_REMOVEDIR) == 0)
        return; /* empty: CRIU never wrote any */
    whole = text_format("%s (logs: %s)", error->message, restore->work_path);
    free(error->message);
    error->message = whole;
}

int restore_run(const struct restore_request *request, struct restore_result *ret_result,
                struct keeper *ret_keeper, struct error *error)
{
    struct restore restore = {
        .request = request,
        .directory = -1,
        .lock = -1,
        .images = -1,
        .work = -1,
        .root_process = -1,
        .plugin = -1,
        .carrier_receiver = -1,
        .carrier_sender = -1,
        .keeper = KEEPER_INIT,
        .workload = WORKLOAD_INIT,
    };
    int r;

    phases_begin(&restore.phases, request->reporter);
    phases_next(&restore.phases, "check");
    r = open_and_verify(&restore, error);
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
        mention_logs(&restore, error);
    }
    forget(&restore);
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
