/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/container.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/look-inside.h"
#include "criu/images.h"
#include "proc/descriptors.h"

#define CRIU_NAME "link_remap."

enum { PROBE_PATIENCE_MSEC = 3000, PROBE_STEP_MSEC = 20 };

/* A container that a snapshot was restored into has the restored processes below its own first
 * one, in a pid namespace of theirs: they are what is meant. */
static pid_t find_restored(pid_t first, struct error *error)
{
    struct process_tree tree = PROCESS_TREE_INIT;
    pid_t found = first;
    int r = process_tree_read(first, &tree, error);

    for (size_t i = 1; r == 0 && i < tree.count; i++) {
        if (tree.processes[i].inner_pid != 1 || tree.processes[i].state == 'Z')
            continue;
        if (found != first)
            r = error_set(error, "container-trees", EINVAL,
                          "Two trees were restored into it: processes %d and %d", (int)found,
                          (int)tree.processes[i].pid);
        found = tree.processes[i].pid;
    }
    process_tree_done(&tree);
    return r < 0 ? r : found;
}

/* Where changed files can't be told from those of the image, that is said before anything is
 * frozen. A read-only root has no changed files. */
static int find_upper(struct capture *capture, struct error *error)
{
    static const char *const prefixes[] = {"/", "/proc/1/root"};
    int r;

    if (capture->request->skip_rootfs || container_root_is_read_only(&capture->view))
        return 0;
    r = overlay_find(&capture->view.mounts, &capture->overlay, error);
    if (r < 0)
        return r;
    /* The runtime's mount namespace is ours, or that of the machine's first process. */
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        CLEANUP(close_fd) int prefix = open(prefixes[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (prefix < 0)
            continue;
        if (r < 0 && error)
            error_done(error);
        r = overlay_open_upper(&capture->overlay, prefix, capture->view.root, &capture->upper,
                               error);
        if (r == 0)
            break;
    }
    return r;
}

int capture_container_find(struct capture *capture, struct error *error)
{
    int r;

    if (capture->managed || !container_is_first(capture->root))
        return 0;
    r = find_restored(capture->root, error);
    if (r < 0)
        return r;
    capture->root = r;
    r = container_view_read(capture->root, &capture->view, error);
    if (r < 0)
        return r;
    capture->contained = true;
    capture->inside = capture->root;
    return find_upper(capture, error);
}

/* A living process of the container's pid namespace that is not in the tree; 0: none. */
static pid_t find_other(const struct capture *capture, char **ret_command)
{
    CLEANUP(free_ptr) pid_t *pids = NULL;
    size_t count = 0;
    pid_t found = 0;

    if (process_list(&pids, &count, NULL) < 0)
        return 0;
    for (size_t i = 0; found == 0 && i < count; i++) {
        struct namespaces namespaces;
        struct process process = PROCESS_INIT;

        if (namespaces_read(pids[i], &namespaces, NULL) < 0 ||
            namespaces.inode[NAMESPACE_PID] != capture->view.namespaces.inode[NAMESPACE_PID] ||
            process_tree_find(&capture->tree, pids[i]) || process_read(pids[i], &process, NULL) < 0)
            continue;
        /* A child of the tree that it has started meanwhile is no stranger. */
        if (process.state != 'Z' && !process_tree_find(&capture->tree, process.ppid)) {
            found = pids[i];
            *ret_command = text_copy(process.command);
        }
        process_done(&process);
    }
    return found;
}

int capture_container_check_others(const struct capture *capture, struct error *error)
{
    uint64_t deadline = clock_now_usec() + (uint64_t)PROBE_PATIENCE_MSEC * 1000;

    for (;;) {
        CLEANUP(free_ptr) char *command = NULL;
        pid_t other = find_other(capture, &command);

        if (other == 0)
            return 0;
        if (clock_now_usec() >= deadline)
            return error_set(error, "left-behind", EOPNOTSUPP,
                             "Process %d (%s) was started into the container from outside",
                             (int)other, command);
        clock_sleep_msec(PROBE_STEP_MSEC);
    }
}

void capture_container_tidy(int images, int root)
{
    char **names = NULL;

    if (images < 0 || criu_image_file_names(images, &names, NULL) < 0)
        return;
    for (char **name = names; *name; name++) {
        const char *slash = strrchr(*name, '/');

        if (slash && text_starts_with(slash + 1, CRIU_NAME))
            container_unlink(root, *name);
    }
    criu_names_free(names);
}

/* Where a path of the container lies; NULL: in no volume. */
static const char *volume_of(const struct container_view *view, const char *path)
{
    size_t best = 0, length = 0;

    for (size_t i = 0; i < view->mounts.count; i++) {
        const char *point = view->mounts.mounts[i].point;
        size_t n = text_equal(point, "/") ? 0 : strlen(point);

        if (n < length || strncmp(path, point, n) != 0 || path[n] != '/')
            continue;
        best = i;
        length = n;
    }
    return length > 0 && view->roles[best] == MOUNT_VOLUME ? view->mounts.mounts[best].point : NULL;
}

int capture_container_check_names(const struct capture *capture, struct error *error)
{
    char **names = NULL;
    int r = criu_image_file_names(capture->images, &names, error);

    if (r < 0)
        return r;
    for (char **name = names; r == 0 && *name; name++) {
        const char *slash = strrchr(*name, '/');
        const char *volume = slash && text_starts_with(slash + 1, CRIU_NAME)
                                 ? volume_of(&capture->view, *name)
                                 : NULL;

        if (volume)
            r = error_set(error, "volume-deleted-name", EOPNOTSUPP,
                          "A file below %.*s, in the volume %s", (int)(slash - *name), *name,
                          volume);
    }
    criu_names_free(names);
    return r;
}

static int make_archive(const struct capture *capture, const char *name, struct error *error)
{
    int fd = openat(snapshot_writer_directory(capture->writer), name,
                    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : error_set(error, "snapshot-write", errno, "Can't make %s", name);
}

static json_t *summary_json(const char *archive, const struct rootfs_summary *summary)
{
    return json_pack("{ss sI sI sI sI sI}", "archive", archive, "files", (json_int_t)summary->files,
                     "directories", (json_int_t)summary->directories, "removed",
                     (json_int_t)summary->whiteouts, "replaced", (json_int_t)summary->opaque,
                     "bytes", (json_int_t)summary->bytes);
}

static int save_rootfs(struct capture *capture, struct error *error)
{
    const struct rootfs_source source = {
        .upper = capture->upper,
        .merged = capture->view.root,
        .user_attributes = capture->overlay.user_attributes,
        .indexed = capture->overlay.indexed,
        .exclusions = capture->request->exclusions,
        .ids = capture->view.ids,
    };
    struct rootfs_summary summary;
    CLEANUP(close_fd) int archive = -1;
    int r;

    if (capture->upper < 0)
        return 0;
    archive = r = make_archive(capture, ROOTFS_ARCHIVE, error);
    if (r >= 0)
        r = rootfs_save(&source, archive, &summary, error);
    if (r == 0)
        capture->rootfs = summary_json(ROOTFS_ARCHIVE, &summary);
    return r;
}

static int save_tmpfs(struct capture *capture, const struct mount *mount, struct error *error)
{
    CLEANUP(free_ptr)
    char *name = text_format("memory-%zu.tar", json_array_size(capture->memory) + 1);
    CLEANUP(close_fd) int directory = container_open_directory(&capture->view, mount->point);
    CLEANUP(close_fd) int archive = -1;
    const struct tree_source source = {.directory = directory, .ids = capture->view.ids};
    struct rootfs_summary summary;
    json_t *entry;
    int r;

    if (directory < 0)
        return error_set(error, "shm-save", directory, "Can't open %s", mount->point);
    archive = r = make_archive(capture, name, error);
    if (r >= 0)
        r = tree_save(&source, archive, &summary, error);
    if (r < 0)
        return r;
    entry = summary_json(name, &summary);
    (void)json_object_set_new(entry, "point", json_string(mount->point));
    (void)json_object_set_new(entry, "options", json_string(mount->options));
    (void)json_object_set_new(entry, "super_options", json_string(mount->super_options));
    (void)json_array_append_new(capture->memory, entry);
    return 0;
}

static int save_memory(struct capture *capture, struct error *error)
{
    int r = 0;

    capture->memory = json_array();
    for (size_t i = 0; r == 0 && i < capture->view.mounts.count; i++) {
        if (capture->view.roles[i] == MOUNT_MEMORY)
            r = save_tmpfs(capture, &capture->view.mounts.mounts[i], error);
    }
    return r;
}

int capture_container_save(struct capture *capture, struct error *error)
{
    int r = criu_image_choose_namespaces(capture->images, error);

    phases_next(&capture->phases, "files");
    if (r == 0)
        r = fault_point("capture-rootfs", error);
    if (r == 0)
        r = save_rootfs(capture, error);
    if (r == 0)
        r = save_memory(capture, error);
    return r;
}

static bool holds(const struct descriptor_table *table, int mount)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->descriptors[i].mount == mount)
            return true;
    }
    return false;
}

/* Whether a process of the tree has a file of it open. */
static bool is_used(const struct capture *capture, const struct mount *mount)
{
    bool used = false;

    for (size_t i = 0; !used && i < capture->tree.count; i++) {
        struct descriptor_table table = DESCRIPTOR_TABLE_INIT;

        if (descriptor_table_read(capture->tree.processes[i].pid, &table, NULL) == 0)
            used = holds(&table, mount->id);
        descriptor_table_done(&table);
    }
    return used;
}

static json_t *describe_mounts(const struct capture *capture)
{
    json_t *list = json_array();

    for (size_t i = 0; i < capture->view.mounts.count; i++) {
        const struct mount *mount = &capture->view.mounts.mounts[i];
        enum mount_role role = capture->view.roles[i];

        if (role == MOUNT_MASK)
            continue;
        (void)json_array_append_new(
            list, json_pack("{ss* ss* ss sb}", "point", mount->point, "type", mount->type, "role",
                            mount_role_name(role), "used",
                            (int)(role == MOUNT_VOLUME && is_used(capture, mount))));
    }
    return list;
}

static char *host_name(const struct capture *capture)
{
    CLEANUP(free_ptr) char *text = NULL;

    if (container_look_for_host_name(capture->view.process, &text, NULL) < 0)
        return NULL;
    return STEAL_PTR(text);
}

static json_t *describe_privileges(const struct container_privileges *privileges)
{
    CLEANUP(free_ptr) char *set = text_format("%016" PRIx64, privileges->capabilities);

    return json_pack("{ss sb sb}", "capabilities", set, "no_new_privileges",
                     (int)privileges->no_new, "seccomp", (int)privileges->filtered);
}

json_t *capture_container_describe(const struct capture *capture)
{
    CLEANUP(free_ptr) char *name = host_name(capture);
    json_t *object =
        capture->request->container ? json_copy(capture->request->container) : json_object();

    (void)json_object_set_new(object, "mounts", describe_mounts(capture));
    (void)json_object_set(object, "addresses", capture->view.addresses);
    (void)json_object_set_new(object, "system_v", json_boolean(capture->view.system_v));
    (void)json_object_set_new(object, "user_namespace", json_boolean(capture->view.own_user_ids));
    (void)json_object_set_new(object, "privileges", describe_privileges(&capture->view.privileges));
    (void)json_object_set_new(object, "host_name", name ? json_string(name) : json_null());
    (void)json_object_set(object, "rootfs", capture->rootfs ? capture->rootfs : json_null());
    (void)json_object_set(object, "memory", capture->memory);
    return object;
}
