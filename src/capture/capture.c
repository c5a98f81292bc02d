/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/installation.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "capture/container.h"
#include "capture/cuda.h"
#include "capture/frozen.h"
#include "capture/preflight.h"
#include "capture/state.h"
#include "criu/launch.h"
#include "criu/log.h"
#include "proc/ending.h"
#include "proc/namespaces.h"
#include "workload/logs.h"
#include "workload/remap.h"

enum {
    DEFAULT_TIMEOUT_SECONDS = 60,
    GHOST_LIMIT = 1 << 30,
    KILL_TIMEOUT_MSEC = 1000,
    END_TIMEOUT_MSEC = 20000,
    KEEPER_NAMESPACES = 1 << NAMESPACE_MOUNT | 1 << NAMESPACE_PID | 1 << NAMESPACE_NETWORK,
};

static unsigned timeout_of(const struct capture *capture)
{
    return capture->request->timeout_seconds ? capture->request->timeout_seconds
                                             : DEFAULT_TIMEOUT_SECONDS;
}

/* One capture of a tree at a time, by whatever name. The lock is on its root process itself:
 * nothing is left of it when this process or that one has ended. */
static int take_turn(struct capture *capture, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d", (int)capture->root);

    capture->turn = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (capture->turn < 0)
        return error_set(error, "process-gone", errno, "There is no process %d",
                         (int)capture->root);
    if (flock(capture->turn, LOCK_EX | LOCK_NB) == 0)
        return 0;
    close_fd(&capture->turn);
    return error_set(error, "checkpoint-running", EBUSY,
                     "Process %d is looked into by another checkpoint", (int)capture->root);
}

static struct criu_place place_of(const struct capture *capture)
{
    if (capture->contained)
        return (struct criu_place){.pid = capture->inside,
                                   .kinds = container_entered(&capture->view),
                                   .foreign = true,
                                   .tidy = capture_container_tidy,
                                   .root = capture->view.root};
    return (struct criu_place){.pid = capture->inside, .kinds = KEEPER_NAMESPACES};
}

/* What is to be saved, and with what. */
static int inspect(struct capture *capture, struct error *error)
{
    int r;

    phases_next(&capture->phases, "inspect");
    r = capture_find(capture, error);
    if (r == 0)
        r = take_turn(capture, error);
    if (r == 0)
        r = capture_inspect(capture, error);
    if (r == 0)
        r = criu_find(&capture->criu, error);
    if (r == 0)
        r = capture_cuda_find(capture, error);
    return r;
}

/* Every reason to refuse is found here, before anything is touched. */
static int ask(struct capture *capture, struct preflight_report *ret_report, struct error *error)
{
    const struct capture_request *request = capture->request;
    struct preflight_request question = {
        .root = capture->root,
        .main = capture_main(capture)->pid,
        .leave_running = request->leave_running,
        .tcp = request->tcp,
        .ghost_limit = request->ghost_limit ? request->ghost_limit : GHOST_LIMIT,
        .private_shm = capture->contained || (capture->inside && capture->workload.private_shm),
        .contained = capture->contained,
        .entered = capture->inside ? place_of(capture).kinds : 0,
        .store = request->root,
        .cuda_known = true,
    };
    int r = capture_cuda_describe(capture, &question, error);

    if (r == 0)
        r = preflight_run(&question, ret_report, error);
    return r;
}

static void tell_warnings(const struct capture *capture, const struct preflight_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct preflight_finding *finding = &report->findings[i];
        CLEANUP(free_ptr) char *text = NULL;

        if (finding->level != PREFLIGHT_WARN)
            continue;
        text = finding->pid ? text_format("process %d: %s [%s]", (int)finding->pid, finding->what,
                                          finding->code)
                            : text_format("%s [%s]", finding->what, finding->code);
        reporter_note(capture->request->reporter, text);
    }
}

static int check(struct capture *capture, struct error *error)
{
    struct preflight_report report = PREFLIGHT_REPORT_INIT;
    int r;

    phases_next(&capture->phases, "preflight");
    r = fault_point("capture-check", error);
    if (r == 0)
        r = ask(capture, &report, error);
    if (r == 0)
        r = preflight_report_error(&report, error);
    if (r == 0)
        tell_warnings(capture, &report);
    preflight_report_done(&report);
    return r;
}

/* Where the snapshot grows: beside the published ones, invisible until it is complete. */
static int stage(struct capture *capture, struct error *error)
{
    CLEANUP(free_ptr) char *label = NULL;
    int r;

    phases_next(&capture->phases, "stage");
    r = fault_point("capture-stage", error);
    if (r == 0)
        r = snapshot_writer_begin(capture->request->root, capture->id, capture->request->version,
                                  &capture->writer, error);
    if (r < 0)
        return r;
    if (mkdirat(snapshot_writer_directory(capture->writer), "criu", 0700) < 0)
        return error_set(error, "snapshot-write", errno, "Can't make the image directory");
    capture->images = openat(snapshot_writer_directory(capture->writer), "criu",
                             O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (capture->images < 0)
        return error_set(error, "snapshot-write", errno, "Can't open the image directory");
    label = text_format("%s-%s-checkpoint", capture->id, snapshot_writer_version(capture->writer));
    return logs_open(capture->request->root, label, &capture->work_path, &capture->work, error);
}

/* CUDA processes stop submitting work; the tree goes on otherwise. */
static int lock(struct capture *capture, struct error *error)
{
    if (capture->cuda_count > 0)
        phases_next(&capture->phases, "lock");
    return capture_cuda_lock(capture, timeout_of(capture), error);
}

int capture_check_held(const struct capture *capture, struct error *error)
{
    /* Its parent may not have heard of its end yet, nor we of the parent's: its end of the socket
     * is closed before anybody does. */
    struct pollfd end = {.fd = capture->criu_socket, .events = POLLRDHUP};
    siginfo_t information = {0};

    if (poll(&end, 1, 0) != 0 ||
        waitid(P_PID, (id_t)capture->helper, &information, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        information.si_pid != 0)
        return error_set(error, "criu-died", ECHILD, "CRIU ended before the tree was saved");
    return 0;
}

/* CRIU has saved everything and holds the tree frozen: all that is left to do before the source
 * may end is done here. A failure makes CRIU let the source run on. */
static int at_point(const char *point, pid_t pid, void *context, struct error *error)
{
    struct capture *capture = context;
    int r = 0;

    (void)pid;
    if (text_equal(point, "pre-dump"))
        capture->frozen_at = clock_now_usec();
    if (!text_equal(point, "post-dump"))
        return 0;
    phases_next(&capture->phases, "complete");
    r = interrupt_check(error);
    if (r == 0)
        r = fault_point("capture-frozen", error);
    if (r == 0)
        r = capture_save_surroundings(capture, error);
    if (r == 0)
        r = capture_check_held(capture, error);
    if (r == 0 && !capture->request->leave_running)
        r = capture_publish(capture, error);
    if (r == 0 && !capture->request->leave_running)
        r = capture_let_go(capture, error);
    capture->frozen_seconds = clock_seconds_since(capture->frozen_at);
    if (r == 0)
        phases_next(&capture->phases, capture->let_go ? "end source" : "resume source");
    return r;
}

static const char **external_keys(const struct capture *capture)
{
    const char **keys = allocate((capture->outside_count + 1) * sizeof *keys);
    size_t count = 0;

    for (size_t i = 0; i < capture->outside_count; i++) {
        if (capture->outside[i].terminal || capture->outside[i].file)
            keys[count++] = capture->outside[i].key;
    }
    return keys;
}

static int converse(struct capture *capture, int socket, struct error *error)
{
    const struct process *root = &capture->tree.processes[0];
    pid_t pid = capture_inner_pid(capture, root);
    CLEANUP(free_ptr) const char **external = external_keys(capture);
    const struct capture_request *request = capture->request;
    struct criu_dump dump = {
        .pid = pid,
        .leave_running = request->leave_running,
        .shell_job = (capture->inside ? root->inner_sid : root->sid) != pid,
        .tcp = request->tcp,
        /* What a container has open to others comes back as closed by them, wherever it comes back:
         * nothing has to be kept from it meanwhile. */
        .network_lock = capture->tcp_outside && request->tcp == TCP_KEEP && !capture->contained
                            ? NETWORK_LOCK_NFT
                            : NETWORK_LOCK_NONE,
        .ghost_limit = request->ghost_limit ? request->ghost_limit : GHOST_LIMIT,
        .timeout_seconds = timeout_of(capture),
        .external = external,
        .log_level = 2,
    };

    return criu_dump(socket, &dump, at_point, capture, error);
}

static int run_criu(struct capture *capture, const struct criu_launch *launch, struct error *error)
{
    CLEANUP(close_fd) int receiver = -1, sender = -1, socket = -1;
    const struct criu_place place = place_of(capture);
    int r = criu_carrier_make(&receiver, &sender, error);

    if (r == 0)
        r = criu_start(launch, &place, sender, &capture->helper, error);
    close_fd(&sender);
    if (r == 0)
        r = criu_carrier_receive(receiver, &socket, error);
    capture->criu_socket = socket;
    if (r == 0)
        r = converse(capture, socket, error);
    capture->criu_socket = -1;
    /* CRIU kills the tree, with it goes the pid namespace, and with that CRIU: its answer may not
     * reach us. What counts is whether the source has ended (wait_for_end). */
    if (r < 0 && capture->let_go && error && error_is(error, "criu-died")) {
        error_done(error);
        r = 0;
    }
    close_fd(&socket);
    if (capture->helper > 0)
        (void)waitpid(capture->helper, NULL, 0);
    return r;
}

/* Freezes the tree and saves it. When this returns 0 and the source was not to be left running,
 * the snapshot is published and the source has ended. */
static int freeze_and_save(struct capture *capture, struct error *error)
{
    CLEANUP(close_fd) int plugin = -1;
    CLEANUP(free_ptr) char *plugins = NULL, *inside = NULL;
    struct criu_launch launch = {
        .binary = capture->criu.path,
        .images_directory = capture->images,
        .work_directory = capture->work,
        .plugin_socket = -1,
        .messages = -1,
        .terminal = -1,
        .spared = true,
    };
    int r;

    phases_next(&capture->phases, "save");
    r = interrupt_check(error);
    if (r == 0)
        r = fault_point("capture-freeze", error);
    if (r == 0 && capture->cuda_count > 0)
        r = installation_find(PART_PLUGINS, &plugins, error);
    if (r == 0 && capture->cuda_count > 0)
        r = cuda_worker_plugin_for_capture(capture->cuda, capture->cuda_processes,
                                           capture->cuda_count, &plugin, error);
    if (r == 0 && capture->contained)
        r = installation_find(PART_CRIU_INSIDE, &inside, error);
    launch.inside = inside;
    launch.plugin_directory = plugins;
    launch.plugin_socket = plugin;
    if (r < 0)
        return r;
    capture->frozen_at = clock_now_usec();
    r = run_criu(capture, &launch, error);
    if (r < 0)
        criu_log_explain(capture->work, CRIU_DUMP_LOG, error);
    if (capture->cuda_count > 0)
        r = capture_cuda_conclude(capture, r, error);
    return r;
}

/* Waits until no process of a source that was not to be left running is there any more. CRIU has
 * ended: a process that was not killed by now (as CRIU was, before it came to that) runs on. */
static int wait_for_end(struct capture *capture, struct error *error)
{
    for (size_t i = 0, waited = 0; i < capture->tree.count;) {
        if (!process_alive(&capture->tree.processes[i])) {
            i++;
            continue;
        }
        if (++waited == END_TIMEOUT_MSEC ||
            (waited >= KILL_TIMEOUT_MSEC && !process_is_ending(capture->tree.processes[i].pid)))
            return error_set(error, "source-lives", ETIMEDOUT,
                             "The snapshot is complete, but process %d of its source did not end",
                             (int)capture->tree.processes[i].pid);
        clock_sleep_msec(1);
    }
    while (capture->managed && workload_alive(capture->request->root, capture->workload.name))
        clock_sleep_msec(1);
    return 0;
}

static int finish(struct capture *capture, struct error *error)
{
    int r = 0;

    if (capture->request->leave_running) {
        r = fault_point("capture-resumed", error);
        if (r == 0)
            r = capture_publish(capture, error);
    } else {
        r = wait_for_end(capture, error);
    }
    phases_end(&capture->phases);
    return r;
}

static int tell(struct capture *capture, struct capture_result *ret_result)
{
    *ret_result = (struct capture_result){
        .id = text_copy(snapshot_writer_id(capture->writer)),
        .version = text_copy(snapshot_writer_version(capture->writer)),
        .path = text_copy(snapshot_writer_path(capture->writer)),
        .bytes = snapshot_writer_bytes(capture->writer),
        .seconds = phases_seconds(&capture->phases),
        .frozen_seconds = capture->frozen_seconds,
        .cuda_seconds = capture->cuda_seconds,
        .phases = json_incref(capture->phases.list),
    };
    return 0;
}

/* Logs of what went well, or was given up, are not kept unless wanted; those of a failure are
 * named. */
static int settle_logs(struct capture *capture, int result, struct error *error)
{
    if (!capture->work_path)
        return result;
    if ((result == 0 || (error && error_is(error, "interrupted"))) && !capture->request->keep_logs)
        (void)directory_remove_all(AT_FDCWD, capture->work_path);
    else if (result < 0 && faccessat(AT_FDCWD, capture->work_path, F_OK, 0) == 0 && error &&
             error->code) {
        char *whole = text_format("%s (logs: %s)", error->message, capture->work_path);

        free(error->message);
        error->message = whole;
    }
    return result;
}

static void forget(struct capture *capture)
{
    snapshot_writer_free(capture->writer);
    cuda_worker_free(capture->cuda);
    free(capture->cuda_processes);
    free(capture->cuda_pids);
    remap_withdraw(capture->remaps);
    json_decref(capture->names);
    json_decref(capture->remaps);
    json_decref(capture->attributes);
    json_decref(capture->cuda_facts);
    for (size_t i = 0; i < capture->outside_count; i++)
        free(capture->outside[i].key);
    free(capture->outside);
    container_view_done(&capture->view);
    overlay_done(&capture->overlay);
    close_fd(&capture->upper);
    json_decref(capture->rootfs);
    json_decref(capture->memory);
    process_tree_done(&capture->tree);
    workload_done(&capture->workload);
    criu_installation_done(&capture->criu);
    close_fd(&capture->images);
    close_fd(&capture->work);
    close_fd(&capture->turn);
    free(capture->work_path);
    free(capture->id);
    phases_done(&capture->phases);
}

static bool runs_on(const struct process *process)
{
    return process_alive(process) && !process_is_ending(process->pid);
}

/* What failed, failed because there is nobody any more. */
static int explain_end(const struct capture *capture, int result, struct error *error)
{
    CLEANUP(free_ptr) char *before = NULL;
    const struct process *main;

    if (!error || !error->code || capture->tree.count == 0 ||
        (!text_starts_with(error->code, "criu-") && !text_equal(error->code, "process-gone")))
        return result;
    main = capture_main(capture);
    if (runs_on(main) && runs_on(&capture->tree.processes[0]))
        return result;
    before = text_copy(error->message);
    return error_set(error, "workload-ended", 0, "Process %d ended while it was being saved (%s)",
                     (int)main->pid, before);
}

int capture_run(const struct capture_request *request, struct capture_result *ret_result,
                struct error *error)
{
    struct capture capture = {.request = request,
                              .workload = WORKLOAD_INIT,
                              .view = CONTAINER_VIEW_INIT,
                              .upper = -1,
                              .criu_socket = -1,
                              .images = -1,
                              .work = -1,
                              .turn = -1};
    int r;

    phases_begin(&capture.phases, request->reporter);
    r = inspect(&capture, error);
    if (r == 0)
        r = check(&capture, error);
    if (r == 0)
        r = stage(&capture, error);
    if (r == 0)
        r = lock(&capture, error);
    if (r == 0)
        r = freeze_and_save(&capture, error);
    if (r == 0)
        r = finish(&capture, error);
    if (r == 0)
        r = tell(&capture, ret_result);
    else if (capture.managed && capture.turn >= 0)
        capture_mark_saved(&capture, NULL);
    if (r < 0)
        r = explain_end(&capture, r, error);
    r = settle_logs(&capture, r, error);
    forget(&capture);
    return r;
}

int capture_preflight(const struct capture_request *request, struct preflight_report *ret_report,
                      struct error *error)
{
    struct capture capture = {.request = request,
                              .workload = WORKLOAD_INIT,
                              .view = CONTAINER_VIEW_INIT,
                              .upper = -1,
                              .criu_socket = -1,
                              .images = -1,
                              .work = -1,
                              .turn = -1};
    int r;

    phases_begin(&capture.phases, NULL);
    r = capture_find(&capture, error);
    if (r == 0)
        r = capture_inspect(&capture, error);
    if (r == 0)
        r = capture_cuda_find(&capture, error);
    if (r == 0)
        r = ask(&capture, ret_report, error);
    forget(&capture);
    return r;
}

void capture_result_done(struct capture_result *result)
{
    free(result->id);
    free(result->version);
    free(result->path);
    json_decref(result->phases);
    *result = (struct capture_result){0};
}
