/* SPDX-License-Identifier: Apache-2.0 */
#include "container/rootfs-writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/rootfs-ids.h"
#include "container/rootfs-path.h"

enum {
    PIECE = 1 << 20,
    ATTRIBUTES_MAXIMUM = 384 << 10, /* of one entry: the reader takes 1 MiB of header, in base64 */
};

int rootfs_save_error(struct error *error, int number, const char *path)
{
    int positive = number < 0 ? -number : number;
    const char *code = positive == ENOSPC || positive == EDQUOT ? "disk-full" : "rootfs-save";

    return error_set(error, code, number, "Can't save /%s", path);
}

static int writer_error(struct rootfs_writer *writer, const char *path, struct error *error)
{
    int number = writer->broken ? -writer->broken : archive_errno(writer->archive);

    if (number > 0 && number < 4096)
        return rootfs_save_error(error, number, path);
    return error_set(error, "rootfs-save", 0, "Can't save /%s: %s", path,
                     archive_error_string(writer->archive));
}

static void mark(struct rootfs_writer *writer, const char *name, const char *value)
{
    archive_entry_xattr_add_entry(writer->entry, name, value, strlen(value));
}

static void begin_entry(struct rootfs_writer *writer, const char *path, mode_t mode)
{
    (void)archive_entry_clear(writer->entry);
    archive_entry_set_pathname(writer->entry, *path ? path : ".");
    archive_entry_set_mode(writer->entry, mode);
    archive_entry_set_size(writer->entry, 0);
    archive_entry_set_mtime(writer->entry, 0, 0);
}

static int write_header(struct rootfs_writer *writer, const char *path, struct error *error)
{
    writer->entries++;
    if (archive_write_header(writer->archive, writer->entry) != ARCHIVE_OK || writer->broken)
        return writer_error(writer, path, error);
    return 0;
}

static int add_owner(struct rootfs_writer *writer, const char *path, const struct statx *st,
                     struct error *error)
{
    uint32_t user, group;

    if (!id_to_inside(&writer->ids->users, st->stx_uid, &user) ||
        !id_to_inside(&writer->ids->groups, st->stx_gid, &group))
        return error_set(error, "rootfs-owner", EOVERFLOW, "/%s belongs to %" PRIu32 ":%" PRIu32,
                         path, st->stx_uid, st->stx_gid);
    archive_entry_set_uid(writer->entry, user);
    archive_entry_set_gid(writer->entry, group);
    return 0;
}

static int add_attribute(struct rootfs_writer *writer, const char *object, const char *path,
                         const char *name, size_t *total, struct error *error)
{
    ssize_t n = lgetxattr(object, name, writer->value, ATTRIBUTE_MAXIMUM);
    size_t length = n < 0 ? 0 : (size_t)n;
    int r;

    if (n < 0)
        return errno == ENODATA ? 0 : rootfs_save_error(error, errno, path);
    r = attribute_to_inside(writer->ids, name, writer->value, &length);
    if (r == -EOVERFLOW)
        return error_set(error, "rootfs-owner", r, "%s of /%s names an owner", name, path);
    if (r < 0)
        return rootfs_save_error(error, r, path);
    if (r > 0)
        return 0;
    *total += length + strlen(name);
    if (*total > ATTRIBUTES_MAXIMUM)
        return rootfs_save_error(error, E2BIG, path);
    archive_entry_xattr_add_entry(writer->entry, name, writer->value, length);
    return 0;
}

/* By way of /proc/self/fd, which works for every kind of file and needs none of them open. */
static int add_attributes(struct rootfs_writer *writer, int directory, const char *name,
                          const char *path, struct error *error)
{
    char object[64 + NAME_MAX];
    ssize_t length;
    size_t total = 0;
    int r = 0;

    (void)snprintf(object, sizeof object, "/proc/self/fd/%d/%s", directory, name);
    length = llistxattr(object, writer->names, ATTRIBUTE_MAXIMUM);
    if (length < 0)
        return errno == EOPNOTSUPP ? 0 : rootfs_save_error(error, errno, path);
    for (char *next = writer->names; r == 0 && next < writer->names + length;
         next += strlen(next) + 1) {
        if (attribute_is_kept(next))
            r = add_attribute(writer, object, path, next, &total, error);
    }
    return r;
}

static char *group_key(const struct statx *st)
{
    return text_format("%u:%u:%" PRIu64, st->stx_dev_major, st->stx_dev_minor,
                       (uint64_t)st->stx_ino);
}

struct file_group *rootfs_writer_group(const struct rootfs_writer *writer, const struct statx *st)
{
    CLEANUP(free_ptr) char *key = st->stx_nlink > 1 ? group_key(st) : NULL;
    const json_t *index = key ? json_object_get(writer->groups_by_inode, key) : NULL;

    return index ? &writer->groups[json_integer_value(index)] : NULL;
}

bool rootfs_writer_has_linked(const struct rootfs_writer *writer, const char *path)
{
    return json_object_get(writer->linked, path) != NULL;
}

static int group_add(struct rootfs_writer *writer, const struct statx *st, const char *path)
{
    CLEANUP(free_ptr) char *key = group_key(st);
    size_t index = writer->group_count;

    if (index == writer->group_capacity) {
        size_t capacity = index ? index * 2 : 64;
        struct file_group *groups = reallocarray(writer->groups, capacity, sizeof *groups);

        if (!groups)
            return -ENOMEM;
        writer->groups = groups;
        writer->group_capacity = capacity;
    }
    if (json_object_set_new(writer->groups_by_inode, key, json_integer((json_int_t)index)) < 0 ||
        json_object_set_new_nocheck(writer->linked, path, json_true()) < 0)
        return -ENOMEM;
    writer->groups[writer->group_count++] =
        (struct file_group){.first = text_copy(path), .links = st->stx_nlink, .seen = 1};
    return 0;
}

static int add_link(struct rootfs_writer *writer, const char *path, struct file_group *group,
                    struct error *error)
{
    begin_entry(writer, path, S_IFREG | 0600);
    archive_entry_set_hardlink(writer->entry, group->first);
    if (json_object_set_new_nocheck(writer->linked, path, json_true()) < 0)
        return rootfs_save_error(error, ENOMEM, path);
    group->seen++;
    writer->summary.hard_links++;
    return write_header(writer, path, error);
}

/* Where the data of a file is. A hole that is written as zeroes is right, so errors only cost. */
static void add_holes(struct rootfs_writer *writer, int fd, int64_t size)
{
    int64_t data, hole = 0;

    while (hole < size && (data = lseek(fd, hole, SEEK_DATA)) >= 0) {
        hole = lseek(fd, data, SEEK_HOLE);
        if (hole < 0 || hole > size)
            hole = size;
        archive_entry_sparse_add_entry(writer->entry, data, hole - data);
    }
    if (hole == 0)
        archive_entry_sparse_add_entry(writer->entry, size, 0); /* nothing but a hole */
}

/* Zeroes for holes are asked for by tar's writer and not written. */
static int write_zeroes(struct rootfs_writer *writer, int64_t length, const char *path,
                        struct error *error)
{
    memset(writer->buffer, 0, PIECE);
    while (length > 0) {
        size_t want = length < PIECE ? (size_t)length : PIECE;

        if (archive_write_data(writer->archive, writer->buffer, want) != (ssize_t)want)
            return writer_error(writer, path, error);
        length -= (int64_t)want;
    }
    return 0;
}

static int write_range(struct rootfs_writer *writer, int fd, int64_t from, int64_t to,
                       const char *path, struct error *error)
{
    while (from < to) {
        size_t want = to - from < PIECE ? (size_t)(to - from) : PIECE;
        ssize_t n = pread(fd, writer->buffer, want, from);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* shorter than it was: somebody writes */
            return rootfs_save_error(error, n < 0 ? errno : EBUSY, path);
        if (archive_write_data(writer->archive, writer->buffer, (size_t)n) != n || writer->broken)
            return writer_error(writer, path, error);
        from += n;
        writer->summary.bytes += (uint64_t)n;
    }
    return 0;
}

/* The same ranges as in the header; reset and next read what archive_entry_sparse_add_entry made.
 */
static int write_contents(struct rootfs_writer *writer, struct archive_entry *entry, int fd,
                          int64_t size, const char *path, struct error *error)
{
    int64_t at = 0, offset, length;
    int r = 0;

    if (archive_entry_sparse_reset(entry) == 0)
        return write_range(writer, fd, 0, size, path, error);
    while (r == 0 && archive_entry_sparse_next(entry, &offset, &length) == ARCHIVE_OK) {
        r = write_zeroes(writer, offset - at, path, error);
        if (r == 0)
            r = write_range(writer, fd, offset, offset + length, path, error);
        at = offset + length;
    }
    return r == 0 ? write_zeroes(writer, size - at, path, error) : r;
}

static int add_file(struct rootfs_writer *writer, int directory, const char *name, const char *path,
                    const struct statx *st, struct error *error)
{
    CLEANUP(close_fd) int fd = name_open_file(directory, name);
    int64_t size = (int64_t)st->stx_size;
    int r;

    if (fd < 0)
        return rootfs_save_error(error, fd, path);
    if (st->stx_nlink > 1) {
        mark(writer, MARK_LINKED, "");
        r = group_add(writer, st, path);
        if (r < 0)
            return rootfs_save_error(error, r, path);
    }
    archive_entry_set_size(writer->entry, size);
    if (st->stx_blocks * 512 < st->stx_size)
        add_holes(writer, fd, size);
    writer->summary.files++;
    r = write_header(writer, path, error);
    return r == 0 ? write_contents(writer, writer->entry, fd, size, path, error) : r;
}

static int add_symlink(struct rootfs_writer *writer, int directory, const char *name,
                       const char *path, struct error *error)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(directory, name, target, sizeof target);

    if (n < 0 || n == sizeof target)
        return rootfs_save_error(error, n < 0 ? errno : ENAMETOOLONG, path);
    target[n] = 0;
    archive_entry_set_symlink(writer->entry, target);
    writer->summary.symlinks++;
    return write_header(writer, path, error);
}

/* tar has no sockets: an empty file with a mark. */
static int add_special(struct rootfs_writer *writer, const char *path, const struct statx *st,
                       struct error *error)
{
    if (S_ISSOCK(st->stx_mode)) {
        archive_entry_set_filetype(writer->entry, AE_IFREG);
        mark(writer, MARK_SOCKET, "");
    } else if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode)) {
        archive_entry_set_rdevmajor(writer->entry, st->stx_rdev_major);
        archive_entry_set_rdevminor(writer->entry, st->stx_rdev_minor);
    }
    writer->summary.specials++;
    return write_header(writer, path, error);
}

static int describe(struct rootfs_writer *writer, int directory, const char *name, const char *path,
                    const struct statx *st, struct error *error)
{
    int r;

    begin_entry(writer, path, st->stx_mode);
    archive_entry_set_mtime(writer->entry, st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec);
    r = add_owner(writer, path, st, error);
    return r == 0 ? add_attributes(writer, directory, name, path, error) : r;
}

int rootfs_writer_add(struct rootfs_writer *writer, int directory, const char *name,
                      const char *path, const struct statx *st, bool opaque, struct error *error)
{
    struct file_group *group = S_ISREG(st->stx_mode) ? rootfs_writer_group(writer, st) : NULL;
    int r;

    if (group)
        return add_link(writer, path, group, error);
    r = describe(writer, directory, name, path, st, error);
    if (r < 0)
        return r;
    if (S_ISREG(st->stx_mode))
        return add_file(writer, directory, name, path, st, error);
    if (S_ISLNK(st->stx_mode))
        return add_symlink(writer, directory, name, path, error);
    if (!S_ISDIR(st->stx_mode))
        return add_special(writer, path, st, error);
    if (opaque) {
        mark(writer, MARK_OPAQUE, "");
        writer->summary.opaque++;
    }
    writer->summary.directories++;
    return write_header(writer, path, error);
}

int rootfs_writer_whiteout(struct rootfs_writer *writer, const char *path, struct error *error)
{
    begin_entry(writer, path, S_IFREG);
    mark(writer, MARK_WHITEOUT, "");
    writer->summary.whiteouts++;
    return write_header(writer, path, error);
}

int rootfs_writer_mount_point(struct rootfs_writer *writer, const char *path, bool directory,
                              struct error *error)
{
    begin_entry(writer, path, directory ? S_IFDIR | 0755 : S_IFREG | 0644);
    mark(writer, MARK_MOUNT_POINT, "");
    writer->summary.mount_points++;
    return write_header(writer, path, error);
}

/* A failure is kept for later: libarchive gives up its own memory only when it never hears of one.
 */
static la_ssize_t write_block(struct archive *archive, void *context, const void *data,
                              size_t length)
{
    struct rootfs_writer *writer = context;

    (void)archive;
    if (!writer->broken)
        writer->broken = file_write_all(writer->fd, data, length);
    return (la_ssize_t)length;
}

/* Names are bytes, attributes are in the form that keeps every name and value. */
static int open_archive(struct rootfs_writer *writer, struct error *error)
{
    struct archive *archive = writer->archive;

    if (archive_write_set_format_pax(archive) != ARCHIVE_OK ||
        archive_write_set_format_option(archive, "pax", "hdrcharset", "BINARY") != ARCHIVE_OK ||
        archive_write_set_format_option(archive, "pax", "xattrheader", "LIBARCHIVE") !=
            ARCHIVE_OK ||
        archive_write_set_bytes_per_block(archive, PIECE) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(archive, 512) != ARCHIVE_OK ||
        archive_write_open(archive, writer, NULL, write_block, NULL) != ARCHIVE_OK)
        return writer_error(writer, "", error);
    return 0;
}

int rootfs_writer_open(struct rootfs_writer *writer, int archive_fd, const char *kind, int root,
                       const struct rootfs_ids *ids, struct error *error)
{
    struct statx st;
    int r = name_stat(root, ".", &st);

    *writer = (struct rootfs_writer){.ids = ids, .fd = archive_fd};
    if (r < 0)
        return rootfs_save_error(error, r, "");
    writer->archive = archive_write_new();
    writer->entry = archive_entry_new();
    writer->groups_by_inode = json_object();
    writer->linked = json_object();
    if (!writer->archive || !writer->entry || !writer->groups_by_inode || !writer->linked)
        return rootfs_save_error(error, ENOMEM, "");
    writer->buffer = allocate(PIECE);
    writer->names = allocate(ATTRIBUTE_MAXIMUM);
    writer->value = allocate(ATTRIBUTE_MAXIMUM + 4);
    r = open_archive(writer, error);
    if (r == 0)
        r = describe(writer, root, ".", "", &st, error);
    if (r < 0)
        return r;
    mark(writer, MARK_ROOT, kind);
    return write_header(writer, "", error);
}

int rootfs_writer_close(struct rootfs_writer *writer, struct error *error)
{
    CLEANUP(free_ptr) char *count = text_format("%" PRIu64, writer->entries);
    int r;

    begin_entry(writer, "", S_IFDIR);
    mark(writer, MARK_END, count);
    r = write_header(writer, "", error);
    if (r == 0 && (archive_write_close(writer->archive) != ARCHIVE_OK || writer->broken))
        r = writer_error(writer, "", error);
    return r;
}

void rootfs_writer_done(struct rootfs_writer *writer)
{
    for (size_t i = 0; i < writer->group_count; i++)
        free(writer->groups[i].first);
    free(writer->groups);
    json_decref(writer->groups_by_inode);
    json_decref(writer->linked);
    free(writer->buffer);
    free(writer->names);
    free(writer->value);
    archive_entry_free(writer->entry);
    writer->broken = -ECANCELED; /* an archive that is given up gets no end */
    if (writer->archive)
        (void)archive_write_free(writer->archive);
    *writer = ROOTFS_WRITER_INIT;
}
