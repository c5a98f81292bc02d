/* SPDX-License-Identifier: Apache-2.0 */
#include "container/rootfs.h"

#include <errno.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "basic/text.h"
#include "container/rootfs-ids.h"
#include "container/rootfs-path.h"
#include "container/rootfs-place.h"
#include "container/rootfs-reader.h"
#include "container/rootfs-writer.h"

struct directory_time {
    char *path;
    struct timespec mtime;
};

struct apply {
    struct target target;
    struct rootfs_reader reader;
    struct rootfs_contents contents;
    struct directory_time *times; /* parents before children */
    size_t time_count, time_capacity;
};

static int note_time(struct apply *apply, const struct rootfs_entry *entry)
{
    if (apply->time_count == apply->time_capacity) {
        size_t capacity = apply->time_capacity ? apply->time_capacity * 2 : 256;
        struct directory_time *times = reallocarray(apply->times, capacity, sizeof *times);

        if (!times)
            return -ENOMEM;
        apply->times = times;
        apply->time_capacity = capacity;
    }
    apply->times[apply->time_count++] =
        (struct directory_time){.path = text_copy(entry->path), .mtime = entry->mtime};
    return 0;
}

/* Mounts of the target stay, and the directories that lead to them. */
static int remove_what_is_not_kept(struct apply *apply, const char *path)
{
    CLEANUP(close_fd) int directory = path_open_directory(apply->target.root, path);
    CLEANUP(name_list_done) struct name_list list = NAME_LIST_INIT;
    int r = directory < 0 ? directory : name_list_read(directory, &list);

    for (size_t i = 0; r == 0 && i < list.count; i++) {
        CLEANUP(free_ptr) char *child = path_join(path, list.names[i]);

        if (json_object_get(apply->contents.kept, child))
            continue;
        r = name_remove_all(directory, list.names[i], apply->target.mount);
        if (r == -EBUSY)
            r = 0;
    }
    return r;
}

static int apply_directory(struct apply *apply, const struct rootfs_entry *entry,
                           struct error *error)
{
    int r = place_directory(&apply->target, entry, error);

    if (r < 0)
        return r;
    if (entry->opaque || apply->contents.is_tree)
        r = remove_what_is_not_kept(apply, entry->path);
    if (r == 0)
        r = note_time(apply, entry);
    return r < 0 ? rootfs_apply_error(error, r, entry->path) : 0;
}

static int apply_entry(struct apply *apply, const struct rootfs_entry *entry, struct error *error)
{
    switch (entry->kind) {
    case ENTRY_FILE:
        return place_file(&apply->target, entry, &apply->reader, error);
    case ENTRY_DIRECTORY:
        return apply_directory(apply, entry, error);
    case ENTRY_SYMLINK:
    case ENTRY_SPECIAL:
        return place_node(&apply->target, entry, error);
    case ENTRY_HARD_LINK:
        return place_hard_link(&apply->target, entry, error);
    case ENTRY_WHITEOUT:
        return place_whiteout(&apply->target, entry, error);
    case ENTRY_MOUNT_POINT:
        return place_mount_point(&apply->target, entry, error);
    }
    return 0;
}

static int apply_entries(struct apply *apply, struct error *error)
{
    struct rootfs_entry entry;
    int r;

    while ((r = rootfs_reader_next(&apply->reader, &entry, error)) > 0) {
        r = apply_entry(apply, &entry, error);
        if (r < 0)
            return r;
    }
    for (size_t i = apply->time_count; r == 0 && i-- > 0;)
        r = place_directory_time(&apply->target, apply->times[i].path, &apply->times[i].mtime,
                                 error);
    return r;
}

/* Overlay says so too when only the mount is read-only. */
static bool is_read_only(int root)
{
    struct statvfs st;

    return fstatvfs(root, &st) == 0 && (st.f_flag & ST_RDONLY);
}

static int refuse_changes(struct apply *apply, struct error *error)
{
    struct rootfs_entry entry;
    int r;

    while ((r = rootfs_reader_next(&apply->reader, &entry, error)) > 0) {
        if (place_would_change(&apply->target, &entry))
            return error_set(error, "rootfs-read-only", EROFS, "Can't write /%s", entry.path);
    }
    return r;
}

/*
 * A file system that belongs to a user namespace, or is mounted with ids of its own, takes new
 * files only from an id that it knows: the container's root. Capabilities are to survive that.
 */
struct creator {
    uid_t user;
    gid_t group;
    int securebits; /* -1: nothing was changed */
};

static void become_creator(const struct rootfs_ids *ids, struct creator *ret)
{
    uint32_t user = 0, group = 0;

    ret->securebits = -1;
    if (!id_to_outside(&ids->users, 0, &user) || !id_to_outside(&ids->groups, 0, &group) ||
        (user == 0 && group == 0))
        return;
    ret->securebits = prctl(PR_GET_SECUREBITS);
    (void)prctl(PR_SET_SECUREBITS, ret->securebits | SECBIT_NO_SETUID_FIXUP);
    ret->group = (gid_t)setfsgid(group);
    ret->user = (uid_t)setfsuid(user);
}

static void become_self(struct creator *creator)
{
    if (creator->securebits < 0)
        return;
    (void)setfsuid(creator->user);
    (void)setfsgid(creator->group);
    (void)prctl(PR_SET_SECUREBITS, creator->securebits);
}

static int apply_checked(struct apply *apply, int archive_fd, int root,
                         const struct rootfs_apply_options *options, struct error *error)
{
    CLEANUP(become_self) struct creator creator = {.securebits = -1};
    int r = target_open(&apply->target, root, &options->ids, error);

    if (r == 0)
        r = rootfs_reader_open(&apply->reader, archive_fd,
                               apply->contents.is_tree ? ROOT_OF_TREE : ROOT_OF_OVERLAY,
                               options->devices, error);
    if (r < 0)
        return r;
    if (is_read_only(root))
        return refuse_changes(apply, error);
    become_creator(&options->ids, &creator);
    return apply_entries(apply, error);
}

static void apply_done(struct apply *apply)
{
    target_done(&apply->target);
    rootfs_reader_done(&apply->reader);
    rootfs_contents_done(&apply->contents);
    for (size_t i = 0; i < apply->time_count; i++)
        free(apply->times[i].path);
    free(apply->times);
}

static int apply_kind(const char *kind, int archive_fd, int root,
                      const struct rootfs_apply_options *options, struct rootfs_summary *ret,
                      struct error *error)
{
    CLEANUP(apply_done) struct apply apply = {.target = TARGET_INIT};
    int r = rootfs_contents_read(&apply.contents, archive_fd, kind, options->devices, error);

    if (r == 0)
        r = apply_checked(&apply, archive_fd, root, options, error);
    if (r == 0 && ret)
        *ret = apply.contents.summary;
    return r;
}

int rootfs_apply(int archive_fd, int target_root, const struct rootfs_apply_options *options,
                 struct rootfs_summary *ret, struct error *error)
{
    return apply_kind(ROOT_OF_OVERLAY, archive_fd, target_root, options, ret, error);
}

int tree_apply(int archive_fd, int directory, const struct rootfs_apply_options *options,
               struct rootfs_summary *ret, struct error *error)
{
    return apply_kind(ROOT_OF_TREE, archive_fd, directory, options, ret, error);
}
