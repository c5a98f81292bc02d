/* SPDX-License-Identifier: Apache-2.0 */
#include "restore/into-container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/nsrestore.h"
#include "container/own.h"
#include "container/rootfs-ids.h"
#include "criu/images.h"
#include "proc/namespaces.h"
#include "restore/target.h"

struct story {
    struct restore restore;
    struct target_helper helper;
    struct leaf images; /* holds the view of them */
    struct target_mounts mounts;
    pid_t first;        /* of the restored processes, as the machine sees it; 0: not there yet */
    const char *marker; /* NULL: none */
};

/* Programs and libraries of the processes are mapped from the image's files. */
static int check_image(const struct story *story, const struct container_restore_request *request,
                       struct error *error)
{
    const char *had =
        json_string_value(json_object_get(story->restore.plan.container, "image_digest"));

    if (request->any_image || !had || !request->image_digest ||
        text_equal(had, request->image_digest))
        return 0;
    return error_set(error, "target-image", EINVAL,
                     "The snapshot is of image %s, the target has %s", had, request->image_digest);
}

/* What is to come back, and where to. */
static int check(struct story *story, const struct container_restore_request *request,
                 struct error *error)
{
    struct restore *restore = &story->restore;
    int r;

    phases_next(&restore->phases, "check");
    if (request->own ? !own_container_is_first(request->target)
                     : !container_is_first(request->target))
        return error_set(error, "target-unfit", EINVAL,
                         "Process %d is not the first one of a running container",
                         (int)request->target);
    r = restore_open(restore, error);
    if (r == 0 && !restore->plan.contained)
        r = error_set(error, "not-a-container", EINVAL, "Snapshot %s",
                      snapshot_id(restore->snapshot));
    if (r == 0)
        r = criu_find(&restore->criu, error);
    if (r == 0)
        r = container_view_read(request->target, &restore->target, error);
    if (r == 0)
        r = restore_check(restore, error);
    if (r == 0)
        r = check_image(story, request, error);
    if (r == 0)
        r = target_check(restore, error);
    return r < 0 ? r : fault_point("restore-check", error);
}

static int open_files(struct restore *restore, struct error *error)
{
    CLEANUP(free_ptr)
    char *label = text_format("%s-%s-restore-%d", snapshot_id(restore->snapshot),
                              snapshot_version(restore->snapshot), (int)getpid());

    restore->images =
        file_open_beneath(snapshot_directory(restore->snapshot), "criu", O_RDONLY | O_DIRECTORY, 0);
    if (restore->images < 0)
        return error_set(error, "snapshot-read", restore->images, "Can't open the images");
    return restore_open_logs(restore, label, error);
}

/* In a user namespace CRIU is root of that one only, and no more on this machine: what it reads and
 * writes here must belong to it (mount_setattr(2), MOUNT_ATTR_IDMAP). */
static int map_owner(int *directory, int users)
{
    struct mount_attr attribute = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)users};
    int mapped = (int)syscall(SYS_open_tree, *directory, "",
                              OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

    if (mapped < 0)
        return -errno;
    if (syscall(SYS_mount_setattr, mapped, "", AT_EMPTY_PATH, &attribute, sizeof attribute) < 0) {
        close_fd(&mapped);
        return -errno;
    }
    close_fd(directory);
    *directory = openat(mapped, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close_fd(&mapped);
    return *directory < 0 ? -errno : 0;
}

static int enter_users(struct restore *restore, struct error *error)
{
    int r;

    if (!restore->target.own_user_ids)
        return 0;
    r = namespace_open(restore->target.process, NAMESPACE_USER, &restore->users, error);
    if (r < 0)
        return r;
    r = map_owner(&restore->work, restore->users);
    return r < 0 ? error_set(error, "user-mapping", r,
                             "Can't show the snapshot to the target's user namespace")
                 : 0;
}

static int prepare(struct story *story, struct error *error)
{
    int r;

    phases_next(&story->restore.phases, "prepare");
    r = open_files(&story->restore, error);
    if (r == 0)
        r = enter_users(&story->restore, error);
    if (r == 0)
        r = target_adapt_network(&story->restore, &story->images, error);
    if (r == 0)
        r = restore_prepare_cuda(&story->restore, error);
    return r;
}

/* Names that CRIU gave deleted files in a restore that was killed are in the way of the next one.
 * For when no CRIU is at work in the target. */
static void clear_ghosts(const struct restore *restore)
{
    char **names = NULL;

    if (restore->images < 0 || criu_image_ghost_names(restore->images, &names, NULL) < 0)
        return;
    for (char **name = names; *name; name++)
        container_unlink(restore->target.root, *name);
    criu_names_free(names);
}

/* The first change to the target: everything that can be known to go wrong is behind us. */
static int bring_files(struct story *story, struct error *error)
{
    int r;

    phases_next(&story->restore.phases, "files");
    clear_ghosts(&story->restore);
    r = target_make_mounts(&story->restore, &story->mounts, error);
    if (r == 0)
        r = target_make_identity(&story->restore, &story->mounts, error);
    if (r == 0)
        r = target_apply_rootfs(&story->restore, error);
    return r;
}

/* CRIU opens a pipe again, as root of the target's user namespace: runtimes give it to that one,
 * but not all do. */
static void give_pipe(const struct restore *restore, int fd)
{
    uint32_t user = 0, group = 0;
    struct stat st;

    if (fd >= 0 && restore->target.own_user_ids && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
        st.st_uid == 0 && id_to_outside(&restore->target.ids.users, 0, &user) &&
        id_to_outside(&restore->target.ids.groups, 0, &group))
        (void)!fchown(fd, user, group);
}

/* What the target itself has for input and output; where it has none, nothing is read or
 * written. */
static int open_stand_in(const struct restore *restore, int process,
                         const struct stand_in *stand_in)
{
    int number = stand_in->stdio >= 0 ? stand_in->stdio : stand_in->writes ? 1 : 0;
    int fd = (int)syscall(SYS_pidfd_getfd, process, number, 0);

    give_pipe(restore, fd);
    return fd >= 0 ? fd : open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int *open_stand_ins(const struct restore *restore)
{
    CLEANUP(close_fd)
    int process = (int)syscall(SYS_pidfd_open, restore->target.pid, 0);
    int *fds = allocate((restore->plan.stand_in_count + 1) * sizeof *fds);

    for (size_t i = 0; i < restore->plan.stand_in_count; i++)
        fds[i] = open_stand_in(restore, process, &restore->plan.stand_ins[i]);
    return fds;
}

/* The helper enters the target, and CRIU is started there. */
static int enter(struct story *story, struct error *error)
{
    struct restore *restore = &story->restore;
    CLEANUP(free_ptr) int *inherited = open_stand_ins(restore);
    struct target_plan plan = {.inherited = inherited,
                               .inherited_count = restore->plan.stand_in_count,
                               .mounts = story->mounts.list,
                               .mount_count = story->mounts.count};
    int r;

    phases_next(&restore->phases, "enter");
    r = fault_point("restore-keeper", error);
    if (r == 0)
        r = target_helper_start(restore, &plan, &story->helper, error);
    for (size_t i = 0; i < restore->plan.stand_in_count; i++)
        close_fd(&inherited[i]);
    target_mounts_done(&story->mounts);
    if (r == 0 && story->marker)
        r = target_write_marker(restore, &story->helper, story->marker, error);
    return r;
}

/* CRIU has made the pid namespace and its first process, and waits. */
static int dress_namespaces(struct story *story, pid_t pid, struct error *error)
{
    CLEANUP(free_ptr) char *message = NULL;
    int r = namespace_pid_to_outer(story->restore.target.pid, pid, &story->first, error);

    if (r < 0)
        return r;
    message = text_format(NSRESTORE_PROC "%d", (int)story->first);
    return target_helper_tell(&story->helper, message, error);
}

static int at_point(const char *point, pid_t pid, void *context, struct error *error)
{
    struct restore *restore = context;
    struct story *story = (struct story *)restore; /* its first member */

    if (text_equal(point, "setup-namespaces"))
        return dress_namespaces(story, pid, error);
    return text_equal(point, "post-restore")
               ? restore_finish_processes(restore, story->first, error)
               : 0;
}

static int bring_back(struct story *story, struct error *error)
{
    struct restore *restore = &story->restore;
    pid_t root = -1;
    int r;

    phases_next(&restore->phases, "restore");
    r = restore_run_criu(restore, at_point, &root, error);
    r = restore_conclude_cuda(restore, r, error);
    if (r == 0)
        r = fault_point("restore-resumed", error);
    if (r == 0)
        r = target_helper_tell(&story->helper, NSRESTORE_RELEASE, error);
    if (r == 0)
        phases_end(&restore->phases);
    return r;
}

/* The helper undoes on its own; it may be the one that was killed. */
static void undo(struct story *story)
{
    target_remove_marker(&story->restore, story->marker);
    target_helper_undo(&story->helper);
    if (story->first > 0 && container_is_first(story->first))
        (void)kill(story->first, SIGKILL);
    clear_ghosts(&story->restore);
}

static void tell(struct story *story, struct container_restore_result *ret_result)
{
    struct restore *restore = &story->restore;
    pid_t inner = 0;

    (void)namespace_pid_to_inner(restore->target.pid, story->first, &inner, NULL);
    *ret_result = (struct container_restore_result){
        .pid = story->first,
        .inner_pid = inner,
        .reference = text_format("%s@%s", snapshot_id(restore->snapshot),
                                 snapshot_version(restore->snapshot)),
        .helper = target_helper_finish(&story->helper),
        .seconds = phases_seconds(&restore->phases),
        .phases = json_incref(restore->phases.list),
    };
    restore_close_logs(restore);
}

int container_restore_run(const struct container_restore_request *request,
                          struct container_restore_result *ret_result, struct error *error)
{
    const struct restore_request common = {
        .root = request->root,
        .reference = request->reference,
        .device_map = request->device_map,
        .skip_verify = request->skip_verify,
        .timeout_seconds = request->timeout_seconds,
        .logs = request->logs,
        .criu_log = request->criu_log,
        .log_level = request->log_level,
        .reporter = request->reporter,
    };
    struct story story = {.restore = RESTORE_INIT,
                          .helper = TARGET_HELPER_INIT,
                          .images = LEAF_INIT,
                          .marker = request->marker};
    int r;

    story.restore.request = &common;
    phases_begin(&story.restore.phases, request->reporter);
    r = check(&story, request, error);
    if (r == 0)
        r = prepare(&story, error);
    if (r == 0)
        r = bring_files(&story, error);
    if (r == 0)
        r = enter(&story, error);
    if (r == 0)
        r = bring_back(&story, error);
    if (r == 0) {
        tell(&story, ret_result);
    } else {
        undo(&story);
        restore_mention_logs(&story.restore, error);
    }
    target_mounts_done(&story.mounts);
    leaf_done(&story.images);
    restore_forget(&story.restore);
    return r;
}

void container_restore_result_done(struct container_restore_result *result)
{
    free(result->reference);
    json_decref(result->helper);
    json_decref(result->phases);
    *result = (struct container_restore_result){0};
}
