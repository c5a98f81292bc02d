/* SPDX-License-Identifier: Apache-2.0 */
#include "container/rootfs-place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "container/rootfs-ids.h"
#include "container/rootfs-path.h"
#include "container/rootfs-writer.h"

enum { OBJECT_LENGTH = 64 + NAME_MAX };

int rootfs_apply_error(struct error *error, int number, const char *path)
{
    const char *code = "rootfs-apply";
    int positive = number < 0 ? -number : number;

    if (positive == ENOSPC || positive == EDQUOT)
        code = "disk-full";
    else if (positive == EROFS)
        code = "rootfs-read-only";
    return error_set(error, code, number, "Can't write /%s", path);
}

static int mount_error(struct error *error, const char *path)
{
    return error_set(error, "rootfs-mount", EBUSY, "/%s", path);
}

int target_open(struct target *target, int root, const struct rootfs_ids *ids, struct error *error)
{
    struct statx st;
    int r = name_stat(root, ".", &st);

    if (r < 0)
        return rootfs_apply_error(error, r, "");
    *target = (struct target){.root = root, .mount = st.stx_mnt_id, .ids = ids, .parent = -1};
    target->names = allocate(ATTRIBUTE_MAXIMUM);
    target->value = allocate(ATTRIBUTE_MAXIMUM + 4);
    return 0;
}

void target_done(struct target *target)
{
    close_fd(&target->parent);
    free(target->parent_path);
    free(target->names);
    free(target->value);
    *target = TARGET_INIT;
}

int target_parent(struct target *target, const char *path)
{
    CLEANUP(free_ptr) char *parent = path_parent(path);

    if (target->parent >= 0 && text_equal(parent, target->parent_path))
        return target->parent;
    close_fd(&target->parent);
    target->parent = path_open_directory(target->root, parent);
    free(target->parent_path);
    target->parent_path = STEAL_PTR(parent);
    return target->parent;
}

/* Where an entry goes: its directory, its name there, and what is there now. */
struct place {
    int directory;
    const char *name;
    bool exists;
    struct statx st;
};

static int find_place(struct target *target, const struct rootfs_entry *entry, struct place *ret,
                      struct error *error)
{
    struct place place = {.name = *entry->path ? path_name(entry->path) : "."};
    int r;

    place.directory = target_parent(target, entry->path);
    if (place.directory == -EXDEV)
        return mount_error(error, entry->path);
    if (place.directory < 0)
        return rootfs_apply_error(error, place.directory, entry->path);
    r = name_stat(place.directory, place.name, &place.st);
    if (r < 0 && r != -ENOENT)
        return rootfs_apply_error(error, r, entry->path);
    place.exists = r == 0;
    if (place.exists && place.st.stx_mnt_id != target->mount && entry->kind != ENTRY_MOUNT_POINT)
        return mount_error(error, entry->path);
    *ret = place;
    return 0;
}

static void object_path(char object[OBJECT_LENGTH], int directory, const char *name)
{
    (void)snprintf(object, OBJECT_LENGTH, "/proc/self/fd/%d/%s", directory, name);
}

static bool entry_has_attribute(const struct rootfs_entry *entry, const char *wanted)
{
    const char *name;
    const void *value;
    size_t length;
    bool found = false;

    while (rootfs_entry_attribute(entry, &name, &value, &length))
        found |= text_equal(name, wanted);
    return found;
}

/* New files may have got an ACL from their directory, old directories may have anything. */
static int remove_attributes(struct target *target, const char *object,
                             const struct rootfs_entry *entry)
{
    ssize_t length = llistxattr(object, target->names, ATTRIBUTE_MAXIMUM);

    if (length < 0)
        return errno == EOPNOTSUPP ? 0 : -errno;
    for (char *name = target->names; name < target->names + length; name += strlen(name) + 1) {
        if (attribute_is_kept(name) && !entry_has_attribute(entry, name) &&
            lremovexattr(object, name) < 0 && errno != ENODATA)
            return -errno;
    }
    return 0;
}

static int set_attribute(struct target *target, const char *object,
                         const struct rootfs_entry *entry, const char *name, const void *value,
                         size_t length, struct error *error)
{
    int r;

    if (length > 0)
        memcpy(target->value, value, length);
    r = attribute_to_outside(target->ids, name, target->value, &length);
    if (r == -EOVERFLOW || r > 0)
        return error_set(error, "rootfs-owner", EOVERFLOW, "%s of /%s", name, entry->path);
    if (r < 0 || lsetxattr(object, name, target->value, length, 0) < 0) {
        r = r < 0 ? r : -errno;
        if (r == -ENOSPC || r == -EDQUOT || r == -EROFS)
            return rootfs_apply_error(error, r, entry->path);
        return error_set(error, "rootfs-attribute", r, "%s of /%s", name, entry->path);
    }
    return 0;
}

static int set_attributes(struct target *target, const struct place *place, const char *made,
                          const struct rootfs_entry *entry, struct error *error)
{
    char object[OBJECT_LENGTH];
    const char *name;
    const void *value;
    size_t length;
    int r;

    object_path(object, place->directory, made);
    r = remove_attributes(target, object, entry);
    if (r < 0)
        return rootfs_apply_error(error, r, entry->path);
    archive_entry_xattr_reset(entry->archive);
    while (r == 0 && rootfs_entry_attribute(entry, &name, &value, &length))
        r = set_attribute(target, object, entry, name, value, length, error);
    return r;
}

static int set_mode(const struct place *place, const char *made, mode_t mode)
{
    CLEANUP(close_fd)
    int fd = openat(place->directory, made, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char object[OBJECT_LENGTH];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if ((st.st_mode & S_IFMT) != (mode & S_IFMT)) /* somebody exchanged it */
        return -EBUSY;
    (void)snprintf(object, sizeof object, "/proc/self/fd/%d", fd);
    return chmod(object, mode & 07777) < 0 ? -errno : 0;
}

/* Owner first: a change of it takes setuid bits and capabilities away. */
static int set_metadata(struct target *target, const struct place *place, const char *made,
                        const struct rootfs_entry *entry, struct error *error)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, entry->mtime};
    uint32_t user, group;
    int r = 0;

    if (!id_to_outside(&target->ids->users, entry->user, &user) ||
        !id_to_outside(&target->ids->groups, entry->group, &group))
        return error_set(error, "rootfs-owner", EOVERFLOW, "/%s belongs to %" PRIu32 ":%" PRIu32,
                         entry->path, entry->user, entry->group);
    if (fchownat(place->directory, made, user, group, AT_SYMLINK_NOFOLLOW) < 0)
        return rootfs_apply_error(error, errno, entry->path);
    if (!S_ISLNK(entry->mode))
        r = set_mode(place, made, entry->mode);
    if (r < 0)
        return rootfs_apply_error(error, r, entry->path);
    r = set_attributes(target, place, made, entry, error);
    if (r < 0)
        return r;
    if (!S_ISDIR(entry->mode) && utimensat(place->directory, made, times, AT_SYMLINK_NOFOLLOW) < 0)
        return rootfs_apply_error(error, errno, entry->path);
    return 0;
}

static int clear_place(struct target *target, const struct place *place,
                       const struct rootfs_entry *entry, struct error *error)
{
    int r = name_remove_all(place->directory, place->name, target->mount);

    if (r == -EBUSY)
        return mount_error(error, entry->path);
    return r < 0 ? rootfs_apply_error(error, r, entry->path) : 0;
}

/* The new object takes the place of the old one at once; only a directory is removed before. */
static int move_in(struct target *target, const struct place *place,
                   const struct rootfs_entry *entry, struct error *error)
{
    int r = 0;

    if (place->exists && S_ISDIR(place->st.stx_mode))
        r = clear_place(target, place, entry, error);
    if (r == 0 && renameat(place->directory, TEMPORARY_NAME, place->directory, place->name) < 0)
        r = rootfs_apply_error(error, errno, entry->path);
    /* What is left of a failure; or of a success, for two names of one file are not renamed. */
    (void)unlinkat(place->directory, TEMPORARY_NAME, 0);
    return r;
}

/* What an earlier attempt has left, or somebody has put there. */
static int clear_temporary(struct target *target, const struct place *place)
{
    return name_remove_all(place->directory, TEMPORARY_NAME, target->mount);
}

static int write_at(int fd, const char *data, size_t length, int64_t offset)
{
    while (length > 0) {
        ssize_t n = pwrite(fd, data, length, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        length -= (size_t)n;
        offset += n;
    }
    return 0;
}

static int write_contents(const struct rootfs_entry *entry, struct rootfs_reader *reader, int fd,
                          struct error *error)
{
    const void *data;
    size_t length;
    int64_t offset, end = 0;
    int r, written = 0;

    while (written == 0 &&
           (r = rootfs_reader_data(reader, entry, &data, &length, &offset, error)) > 0) {
        written = write_at(fd, data, length, offset);
        end = offset + (int64_t)length;
    }
    if (written < 0)
        return rootfs_apply_error(error, written, entry->path);
    if (r == 0 && end < entry->size && ftruncate(fd, entry->size) < 0)
        return rootfs_apply_error(error, errno, entry->path);
    return r;
}

static int make_file(const struct place *place, const struct rootfs_entry *entry,
                     struct rootfs_reader *reader, struct error *error)
{
    CLEANUP(close_fd)
    int fd = openat(place->directory, TEMPORARY_NAME,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return rootfs_apply_error(error, errno, entry->path);
    return write_contents(entry, reader, fd, error);
}

int place_file(struct target *target, const struct rootfs_entry *entry,
               struct rootfs_reader *reader, struct error *error)
{
    struct place place;
    int r = find_place(target, entry, &place, error);

    if (r < 0)
        return r;
    r = clear_temporary(target, &place);
    if (r < 0)
        return rootfs_apply_error(error, r, entry->path);
    r = make_file(&place, entry, reader, error);
    if (r == 0)
        r = set_metadata(target, &place, TEMPORARY_NAME, entry, error);
    if (r == 0)
        return move_in(target, &place, entry, error);
    (void)unlinkat(place.directory, TEMPORARY_NAME, 0);
    return r;
}

static int make_node(const struct place *place, const struct rootfs_entry *entry)
{
    int r;

    if (entry->kind == ENTRY_SYMLINK)
        r = symlinkat(entry->target, place->directory, TEMPORARY_NAME);
    else
        r = mknodat(place->directory, TEMPORARY_NAME, (entry->mode & S_IFMT) | 0600, entry->device);
    return r < 0 ? -errno : 0;
}

int place_node(struct target *target, const struct rootfs_entry *entry, struct error *error)
{
    struct place place;
    int r = find_place(target, entry, &place, error);

    if (r < 0)
        return r;
    r = clear_temporary(target, &place);
    if (r == 0)
        r = make_node(&place, entry);
    if (r < 0)
        return rootfs_apply_error(error, r, entry->path);
    r = set_metadata(target, &place, TEMPORARY_NAME, entry, error);
    if (r == 0)
        return move_in(target, &place, entry, error);
    (void)unlinkat(place.directory, TEMPORARY_NAME, 0);
    return r;
}

int place_hard_link(struct target *target, const struct rootfs_entry *entry, struct error *error)
{
    CLEANUP(free_ptr) char *first_parent = path_parent(entry->target);
    CLEANUP(close_fd) int first = path_open_directory(target->root, first_parent);
    struct place place;
    int r = find_place(target, entry, &place, error);

    if (r < 0)
        return r;
    r = first < 0 ? first : clear_temporary(target, &place);
    if (r == 0 && linkat(first, path_name(entry->target), place.directory, TEMPORARY_NAME, 0) < 0)
        r = -errno;
    if (r < 0)
        return rootfs_apply_error(error, r, entry->path);
    return move_in(target, &place, entry, error);
}

int place_directory(struct target *target, const struct rootfs_entry *entry, struct error *error)
{
    struct place place;
    int r = find_place(target, entry, &place, error);

    if (r < 0)
        return r;
    if (!place.exists || !S_ISDIR(place.st.stx_mode)) {
        r = place.exists ? clear_place(target, &place, entry, error) : 0;
        if (r < 0)
            return r;
        if (mkdirat(place.directory, place.name, 0700) < 0)
            return rootfs_apply_error(error, errno, entry->path);
    }
    return set_metadata(target, &place, place.name, entry, error);
}

int place_whiteout(struct target *target, const struct rootfs_entry *entry, struct error *error)
{
    struct place place;
    int r = target_parent(target, entry->path);

    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    r = find_place(target, entry, &place, error);
    return r == 0 && place.exists ? clear_place(target, &place, entry, error) : r;
}

int place_mount_point(struct target *target, const struct rootfs_entry *entry, struct error *error)
{
    bool directory = S_ISDIR(entry->mode);
    struct place place;
    int r = find_place(target, entry, &place, error);

    if (r < 0)
        return r;
    if (place.exists &&
        (place.st.stx_mnt_id != target->mount || S_ISDIR(place.st.stx_mode) == directory))
        return 0;
    r = place.exists ? clear_place(target, &place, entry, error) : 0;
    if (r < 0)
        return r;
    r = directory ? mkdirat(place.directory, place.name, 0700)
                  : mknodat(place.directory, place.name, S_IFREG | 0600, 0);
    if (r < 0)
        return rootfs_apply_error(error, errno, entry->path);
    return set_metadata(target, &place, place.name, entry, error);
}

int place_directory_time(struct target *target, const char *path, const struct timespec *mtime,
                         struct error *error)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, *mtime};
    CLEANUP(close_fd) int fd = path_open_directory(target->root, path);

    if (fd == -ENOENT || fd == -ENOTDIR)
        return 0;
    if (fd < 0 || futimens(fd, times) < 0)
        return rootfs_apply_error(error, fd < 0 ? fd : errno, path);
    return 0;
}

static bool has_owner(struct target *target, const struct rootfs_entry *entry,
                      const struct statx *st)
{
    uint32_t user, group;

    return id_to_outside(&target->ids->users, entry->user, &user) && user == st->stx_uid &&
           id_to_outside(&target->ids->groups, entry->group, &group) && group == st->stx_gid;
}

bool place_would_change(struct target *target, const struct rootfs_entry *entry)
{
    int directory = target_parent(target, entry->path);
    struct statx st;
    int r = directory < 0 ? directory
                          : name_stat(directory, *entry->path ? path_name(entry->path) : ".", &st);

    if (entry->kind == ENTRY_WHITEOUT)
        return r != -ENOENT && r != -ENOTDIR;
    if (r < 0)
        return true;
    if (entry->kind == ENTRY_MOUNT_POINT)
        return S_ISDIR(st.stx_mode) != S_ISDIR(entry->mode);
    return entry->kind != ENTRY_DIRECTORY || entry->opaque || st.stx_mode != entry->mode ||
           !has_owner(target, entry, &st);
}
