/* SPDX-License-Identifier: Apache-2.0 */
#include "container/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "basic/text.h"
#include "container/rootfs-path.h"
#include "container/rootfs-writer.h"

/*
 * The upper layer tells what changed; what it changed to is read where the container sees it. So
 * files whose data is in a lower layer, attributes that the overlay hides, and ids that it maps are
 * nothing special. A directory whose contents come from another place of a lower layer (a renamed
 * one) is saved as a whole.
 */
struct save {
    struct rootfs_writer writer;
    int upper; /* -1: everything is saved, not what changed */
    int merged;
    uint64_t mount;
    bool indexed;
    int64_t since; /* when the upper layer was made, in seconds */
    const char *opaque_name, *redirect_name;
    const char *const *exclusions;
};

/* What is below one of them is left out too, because their directory is never entered. */
static const char *const never_saved[] = {
    "proc",      "sys",          "dev", ".dockerenv", "run/.containerenv", "etc/resolv.conf",
    "etc/hosts", "etc/hostname", NULL,
};

static bool matches(const char *pattern, const char *path)
{
    if (strchr(pattern, '/')) {
        CLEANUP(free_ptr) char *absolute = text_format("/%s", path);

        return fnmatch(pattern, absolute, 0) == 0;
    }
    return fnmatch(pattern, path_name(path), 0) == 0;
}

static bool is_left_out(const struct save *save, const char *path)
{
    for (size_t i = 0; save->upper >= 0 && never_saved[i]; i++) {
        if (text_equal(path, never_saved[i]))
            return true;
    }
    for (size_t i = 0; save->exclusions && save->exclusions[i]; i++) {
        if (matches(save->exclusions[i], path))
            return true;
    }
    return text_equal(path_name(path), TEMPORARY_NAME);
}

/* How a directory is read. */
struct mode {
    bool whole;  /* all of it, not what changed */
    bool opaque; /* it hides what lower layers have there */
};

static bool has_mark(int upper_directory, const char *name, const char *mark, const char *value)
{
    CLEANUP(free_ptr)
    char *object = text_format("/proc/self/fd/%d/%s", upper_directory, name);
    char found[8];
    ssize_t n = lgetxattr(object, mark, found, sizeof found);

    if (n < 0)
        return errno == ERANGE && !value;
    return !value || ((size_t)n == strlen(value) && memcmp(found, value, (size_t)n) == 0);
}

/* Below an opaque directory everything is: another container may have something there. */
static struct mode mode_below(const struct save *save, struct mode mode, int upper_directory,
                              const char *name)
{
    if (mode.whole)
        return mode;
    if (has_mark(upper_directory, name, save->redirect_name, NULL))
        return (struct mode){.whole = true, .opaque = true};
    if (has_mark(upper_directory, name, save->opaque_name, "y"))
        mode.opaque = true;
    return mode;
}

struct level {
    int upper, merged; /* the open directory in both; upper -1 when all of it is saved */
    const char *path;
    struct mode mode;
};

struct subdirectory {
    bool enter;
    struct mode mode;
};

static int save_name(struct save *save, const struct level *level, const char *name,
                     struct subdirectory *ret_below, struct error *error)
{
    CLEANUP(free_ptr) char *path = path_join(level->path, name);
    struct statx st;
    int r;

    if (is_left_out(save, path))
        return 0;
    r = name_stat(level->merged, name, &st);
    if (r == -ENOENT && level->upper >= 0) /* in the upper layer to hide what is in a lower one */
        return rootfs_writer_whiteout(&save->writer, path, error);
    if (r < 0)
        return rootfs_save_error(error, r, path);
    if (st.stx_mnt_id != save->mount)
        return rootfs_writer_mount_point(&save->writer, path, S_ISDIR(st.stx_mode), error);
    if (!path_is_sound(path))
        return rootfs_save_error(error, ENAMETOOLONG, path);
    if (S_ISDIR(st.stx_mode)) {
        ret_below->enter = true;
        ret_below->mode = mode_below(save, level->mode, level->upper, name);
    }
    return rootfs_writer_add(&save->writer, level->merged, name, path, &st, ret_below->mode.opaque,
                             error);
}

static int save_names(struct save *save, const char *path, struct mode mode, struct name_list *list,
                      struct subdirectory **ret_below, struct error *error)
{
    CLEANUP(close_fd) int merged = path_open_directory(save->merged, path);
    CLEANUP(close_fd) int upper = mode.whole ? -1 : path_open_directory(save->upper, path);
    struct level level = {.upper = upper, .merged = merged, .path = path, .mode = mode};
    int r = merged < 0 ? merged : 0;

    if (r == 0 && !mode.whole && upper < 0)
        r = upper;
    if (r == 0)
        r = name_list_read(mode.whole ? merged : upper, list);
    if (r < 0)
        return rootfs_save_error(error, r, path);
    *ret_below = allocate(list->count * sizeof **ret_below);
    for (size_t i = 0; r == 0 && i < list->count; i++)
        r = save_name(save, &level, list->names[i], &(*ret_below)[i], error);
    return r;
}

/* A directory is closed before those below it are opened: depth costs memory, not descriptors. */
static int save_directory(struct save *save, const char *path, struct mode mode, // NOLINT
                          struct error *error)
{
    CLEANUP(name_list_done) struct name_list list = NAME_LIST_INIT;
    CLEANUP(free_ptr) struct subdirectory *below = NULL;
    int r = save_names(save, path, mode, &list, &below, error);

    for (size_t i = 0; r == 0 && i < list.count; i++) {
        if (below[i].enter) {
            CLEANUP(free_ptr) char *child = path_join(path, list.names[i]);

            r = save_directory(save, child, below[i].mode, error);
        }
    }
    return r;
}

static bool any_group_incomplete(const struct rootfs_writer *writer)
{
    for (size_t i = 0; i < writer->group_count; i++) {
        if (writer->groups[i].seen < writer->groups[i].links)
            return true;
    }
    return false;
}

static bool exists_in_upper(const struct save *save, const char *path)
{
    CLEANUP(free_ptr) char *parent = path_parent(path);
    CLEANUP(close_fd) int directory = path_open_directory(save->upper, parent);
    struct statx st;

    return directory >= 0 && name_stat(directory, path_name(path), &st) == 0;
}

/* The directory too, so that its times survive the new link. */
static int add_other_name(struct save *save, int directory, const char *parent, const char *name,
                          const struct statx *st, struct error *error)
{
    CLEANUP(free_ptr) char *path = path_join(parent, name);
    struct statx directory_st;
    int r;

    if (is_left_out(save, path) || rootfs_writer_has_linked(&save->writer, path) ||
        (!rootfs_writer_group(&save->writer, st) && exists_in_upper(save, path)))
        return 0;
    r = name_stat(directory, ".", &directory_st);
    if (r < 0)
        return rootfs_save_error(error, r, parent);
    if (*parent && !exists_in_upper(save, parent))
        r = rootfs_writer_add(&save->writer, directory, ".", parent, &directory_st, false, error);
    if (r == 0)
        r = rootfs_writer_add(&save->writer, directory, name, path, st, false, error);
    return r;
}

/* A change of the inode that is later than the upper layer was not made in the image. */
static bool has_other_name(const struct save *save, const struct statx *st)
{
    return S_ISREG(st->stx_mode) && (rootfs_writer_group(&save->writer, st) ||
                                     (save->indexed && st->stx_ctime.tv_sec >= save->since));
}

/*
 * With "index=on" a file that has several names in a lower layer keeps them all when it is changed
 * by one, and only that one is in the upper layer, or, when it was removed then, none. The others
 * are found by looking everywhere.
 */
static int find_other_names(struct save *save, const char *path, struct error *error) // NOLINT
{
    CLEANUP(name_list_done) struct name_list list = NAME_LIST_INIT;
    CLEANUP(close_fd) int directory = path_open_directory(save->merged, path);
    CLEANUP(free_ptr) bool *enter = NULL;
    int r = directory < 0 ? directory : name_list_read(directory, &list);

    if (r < 0)
        return rootfs_save_error(error, r, path);
    enter = allocate(list.count * sizeof *enter);
    for (size_t i = 0; r == 0 && i < list.count; i++) {
        struct statx st;

        if (name_stat(directory, list.names[i], &st) < 0 || st.stx_mnt_id != save->mount)
            continue;
        enter[i] = S_ISDIR(st.stx_mode);
        if (has_other_name(save, &st))
            r = add_other_name(save, directory, path, list.names[i], &st, error);
    }
    close_fd(&directory);
    for (size_t i = 0; r == 0 && i < list.count; i++) {
        CLEANUP(free_ptr) char *child = path_join(path, list.names[i]);

        if (enter[i] && !is_left_out(save, child))
            r = find_other_names(save, child, error);
    }
    return r;
}

static int save_all(struct save *save, int archive_fd, const char *kind,
                    const struct rootfs_ids *ids, struct rootfs_summary *ret, struct error *error)
{
    struct mode mode = {.whole = save->upper < 0};
    struct statx st;
    int r = name_stat(save->merged, ".", &st);

    if (r < 0)
        return rootfs_save_error(error, r, "");
    save->mount = st.stx_mnt_id;
    r = rootfs_writer_open(&save->writer, archive_fd, kind, save->merged, ids, error);
    if (r == 0)
        r = save_directory(save, "", mode, error);
    if (r == 0 && save->upper >= 0 && (save->indexed || any_group_incomplete(&save->writer)))
        r = find_other_names(save, "", error);
    if (r == 0)
        r = rootfs_writer_close(&save->writer, error);
    if (r == 0 && ret)
        *ret = save->writer.summary;
    rootfs_writer_done(&save->writer);
    return r;
}

static int64_t birth_of(int directory)
{
    struct statx st;

    if (statx(directory, "", AT_EMPTY_PATH, STATX_BTIME, &st) < 0 || !(st.stx_mask & STATX_BTIME))
        return INT64_MIN;
    return st.stx_btime.tv_sec;
}

int rootfs_save(const struct rootfs_source *source, int archive_fd, struct rootfs_summary *ret,
                struct error *error)
{
    bool user = source->user_attributes;
    struct save save = {
        .upper = source->upper,
        .merged = source->merged,
        .indexed = source->indexed,
        .since = birth_of(source->upper),
        .opaque_name = user ? "user.overlay.opaque" : "trusted.overlay.opaque",
        .redirect_name = user ? "user.overlay.redirect" : "trusted.overlay.redirect",
        .exclusions = source->exclusions,
    };

    return save_all(&save, archive_fd, ROOT_OF_OVERLAY, &source->ids, ret, error);
}

int tree_save(const struct tree_source *source, int archive_fd, struct rootfs_summary *ret,
              struct error *error)
{
    struct save save = {.upper = -1, .merged = source->directory, .exclusions = source->exclusions};

    return save_all(&save, archive_fd, ROOT_OF_TREE, &source->ids, ret, error);
}
