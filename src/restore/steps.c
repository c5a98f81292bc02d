/* SPDX-License-Identifier: Apache-2.0 */
/* What every restore does, wherever its processes will live. */
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
#include "workload/remap.h"

enum { TURN_STEP_MSEC = 5 };

/* Everything small is checked before CRIU sees it; bulk contents while CRIU works with them. */
int restore_open(struct restore *restore, struct error *error)
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

/* The bulk files were read while CRIU restored; nothing runs on contents that are not right. */
int restore_join_verification(struct restore *restore, struct error *error)
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

int restore_prepare_cuda(struct restore *restore, struct error *error)
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

static struct criu_inherited_fd *inherited_keys(const struct restore_plan *plan)
{
    struct criu_inherited_fd *keys = allocate((plan->stand_in_count + 1) * sizeof *keys);

    for (size_t i = 0; i < plan->stand_in_count; i++)
        keys[i].key = (char *)(uintptr_t)plan->stand_ins[i].key;
    return keys;
}

int restore_run_criu(struct restore *restore, criu_notify_function *at_point, pid_t *ret_root,
                     struct error *error)
{
    CLEANUP(free_ptr) struct criu_inherited_fd *keys = inherited_keys(&restore->plan);
    CLEANUP(close_fd) int socket = -1;
    struct criu_restore request = {
        .shell_job = restore->plan.shell_job,
        .tcp = restore->request->tcp_given ? restore->request->tcp : restore->plan.tcp,
        .inherited = keys,
        .inherited_count = restore->plan.stand_in_count,
        .timeout_seconds = restore->request->timeout_seconds,
        .log_level = restore->request->log_level,
        .watch = restore->watch,
    };
    int r = criu_carrier_receive(restore->carrier_receiver, &socket, error);

    if (r == 0)
        r = criu_restore(socket, &request, at_point, restore, ret_root, error);
    if (r < 0)
        criu_log_explain(restore->work, CRIU_RESTORE_LOG, error);
    return r;
}

/* CRIU swallows what went wrong with a device; the worker remembers. */
int restore_conclude_cuda(struct restore *restore, int result, struct error *error)
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

/* While CRIU brings back a deleted file it has a name for a moment, the same each time: so restores
 * of such a snapshot take turns. CRIU shares the description that is locked: a turn lasts until it
 * has ended, whatever becomes of us. */
int restore_take_turn(struct restore *restore, struct error *error)
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

void restore_forget(struct restore *restore)
{
    snapshot_verify_free(restore->verification);
    cuda_worker_free(restore->cuda);
    restore_plan_done(&restore->plan);
    snapshot_free(restore->snapshot);
    container_view_done(&restore->target);
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
    close_fd(&restore->users);
    free(restore->work_path);
    free(restore->plugins);
    free(restore->device_map);
    free(restore->name);
    phases_done(&restore->phases);
}

int restore_finish_processes(struct restore *restore, pid_t inside, struct error *error)
{
    int r;

    phases_next(&restore->phases, "checksums");
    r = interrupt_check(error);
    if (r == 0)
        r = fault_point("restore-restored", error);
    if (r == 0)
        r = restore_join_verification(restore, error);
    if (r == 0)
        r = attributes_apply(json_object_get(snapshot_manifest(restore->snapshot), "attributes"),
                             inside, error);
    phases_next(&restore->phases, restore->plan.cuda_count ? "cuda" : "resume");
    return r;
}
