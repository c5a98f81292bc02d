/* SPDX-License-Identifier: Apache-2.0 */
#include "container/rootfs-reader.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "container/rootfs-ids.h"
#include "container/rootfs-path.h"
#include "container/rootfs-writer.h"

enum { BLOCK = 1 << 20, ENTRIES_MAXIMUM = 8 << 20 };

static int refuse(struct error *error, const struct rootfs_reader *reader, const char *why)
{
    return error_set(error, "rootfs-archive", EBADMSG, "Entry %" PRIu64 ": %s", reader->entries,
                     why);
}

static int refuse_archive(struct error *error, const struct rootfs_reader *reader)
{
    const char *why = archive_error_string(reader->archive);

    return refuse(error, reader, why ? why : "it can't be read");
}

int rootfs_reader_open(struct rootfs_reader *reader, int archive_fd, const char *kind, bool devices,
                       struct error *error)
{
    *reader = (struct rootfs_reader){.kind = kind, .devices = devices};
    reader->archive = archive_read_new();
    reader->linked = json_object();
    if (!reader->archive || !reader->linked)
        return error_set(error, "rootfs-archive", ENOMEM, "Can't read the archive");
    if (lseek(archive_fd, 0, SEEK_SET) < 0)
        return error_set(error, "rootfs-archive", errno, "Can't read the archive");
    if (archive_read_support_format_tar(reader->archive) != ARCHIVE_OK ||
        archive_read_open_fd(reader->archive, archive_fd, BLOCK) != ARCHIVE_OK)
        return refuse_archive(error, reader);
    return 0;
}

void rootfs_reader_done(struct rootfs_reader *reader)
{
    if (reader->archive)
        (void)archive_read_free(reader->archive);
    json_decref(reader->linked);
    free(reader->path);
    *reader = ROOTFS_READER_INIT;
}

static bool is_mark(const char *name)
{
    return text_starts_with(name, MARK_PREFIX);
}

/* NULL when it is not there; the value of a mark has an end within `text`. */
static const char *find_mark(struct archive_entry *entry, const char *wanted, char text[32])
{
    const char *name;
    const void *value;
    size_t length;

    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &length) == ARCHIVE_OK) {
        if (!text_equal(name, wanted))
            continue;
        if (length >= 32)
            length = 31;
        if (length > 0)
            memcpy(text, value, length);
        text[length] = 0;
        return text;
    }
    return NULL;
}

bool rootfs_entry_attribute(const struct rootfs_entry *entry, const char **ret_name,
                            const void **ret_value, size_t *ret_length)
{
    while (archive_entry_xattr_next(entry->archive, ret_name, ret_value, ret_length) ==
           ARCHIVE_OK) {
        if (!is_mark(*ret_name))
            return true;
    }
    archive_entry_xattr_reset(entry->archive);
    return false;
}

static bool attributes_are_sound(const struct rootfs_entry *entry)
{
    const char *name;
    const void *value;
    size_t length;
    bool sound = true;

    archive_entry_xattr_reset(entry->archive);
    while (rootfs_entry_attribute(entry, &name, &value, &length)) {
        if (!name || !attribute_is_kept(name) || strlen(name) > XATTR_NAME_MAX ||
            length > ATTRIBUTE_MAXIMUM || (length > 0 && !value))
            sound = false;
    }
    return sound;
}

/* Without the slash that tar puts behind directories, and "" for the root directory. */
static char *read_path(const char *name)
{
    char *path = text_copy(name ? name : "/");
    size_t length = strlen(path);

    if (length > 1 && path[length - 1] == '/')
        path[length - 1] = 0;
    if (text_equal(path, "."))
        path[0] = 0;
    return path;
}

static int read_link(const struct rootfs_reader *reader, struct rootfs_entry *entry,
                     struct error *error)
{
    entry->kind = ENTRY_HARD_LINK;
    entry->target = archive_entry_hardlink(reader->entry);
    if (!json_object_get(reader->linked, entry->target) || text_equal(entry->target, entry->path))
        return refuse(error, reader, "a hard link to what did not come before");
    return 0;
}

static int read_special(const struct rootfs_reader *reader, struct rootfs_entry *entry,
                        struct error *error)
{
    entry->kind = ENTRY_SPECIAL;
    if (S_ISFIFO(entry->mode) || S_ISSOCK(entry->mode))
        return 0;
    if (!S_ISCHR(entry->mode) && !S_ISBLK(entry->mode))
        return refuse(error, reader, "an unknown type");
    if (entry->device == 0)
        return refuse(error, reader, "a device without a number");
    if (!reader->devices)
        return error_set(error, "rootfs-device", EPERM, "/%s", entry->path);
    return 0;
}

static int read_marked(const struct rootfs_reader *reader, struct rootfs_entry *entry,
                       struct error *error)
{
    char text[32];

    if (find_mark(reader->entry, MARK_WHITEOUT, text))
        entry->kind = ENTRY_WHITEOUT;
    else if (find_mark(reader->entry, MARK_MOUNT_POINT, text))
        entry->kind = ENTRY_MOUNT_POINT;
    else if (find_mark(reader->entry, MARK_SOCKET, text))
        entry->mode = (entry->mode & 07777) | S_IFSOCK;
    else
        return 0;
    if (entry->size != 0 ||
        (!S_ISREG(archive_entry_mode(reader->entry)) && entry->kind != ENTRY_MOUNT_POINT))
        return refuse(error, reader, "a mark on what it is not for");
    return 1;
}

static int read_type(struct rootfs_reader *reader, struct rootfs_entry *entry, struct error *error)
{
    char text[32];
    int r = read_marked(reader, entry, error);

    if (r < 0 || (r > 0 && !S_ISSOCK(entry->mode)))
        return r;
    if (S_ISDIR(entry->mode)) {
        entry->kind = ENTRY_DIRECTORY;
        entry->opaque = find_mark(reader->entry, MARK_OPAQUE, text) != NULL;
    } else if (S_ISLNK(entry->mode)) {
        entry->kind = ENTRY_SYMLINK;
        entry->target = archive_entry_symlink(reader->entry);
        if (!entry->target || !*entry->target || strlen(entry->target) >= PATH_MAX)
            return refuse(error, reader, "a symbolic link to nothing");
    } else if (S_ISREG(entry->mode)) {
        entry->kind = ENTRY_FILE;
        entry->linked = find_mark(reader->entry, MARK_LINKED, text) != NULL;
    } else {
        return read_special(reader, entry, error);
    }
    return 0;
}

static int read_numbers(const struct rootfs_reader *reader, struct rootfs_entry *entry,
                        struct error *error)
{
    struct archive_entry *from = reader->entry;
    int64_t user = archive_entry_uid(from), group = archive_entry_gid(from);

    entry->size = archive_entry_size_is_set(from) ? archive_entry_size(from) : 0;
    if (user < 0 || user >= UINT32_MAX || group < 0 || group >= UINT32_MAX || entry->size < 0 ||
        (entry->size > 0 && !archive_entry_hardlink(from) && !S_ISREG(archive_entry_mode(from))))
        return refuse(error, reader, "a number that can't be");
    entry->mode = archive_entry_mode(from);
    entry->user = (uint32_t)user;
    entry->group = (uint32_t)group;
    entry->device =
        makedev((unsigned)archive_entry_rdevmajor(from), (unsigned)archive_entry_rdevminor(from));
    entry->mtime.tv_sec = archive_entry_mtime(from);
    entry->mtime.tv_nsec = archive_entry_mtime_nsec(from);
    if (entry->mtime.tv_nsec < 0 || entry->mtime.tv_nsec > 999999999)
        return refuse(error, reader, "a time that can't be");
    return 0;
}

static int read_named(struct rootfs_reader *reader, struct rootfs_entry *entry, struct error *error)
{
    int r;

    if (!path_is_sound(entry->path) || text_equal(path_name(entry->path), TEMPORARY_NAME))
        return refuse(error, reader, "a name that is not allowed");
    if (archive_entry_hardlink(reader->entry))
        r = read_link(reader, entry, error);
    else
        r = read_type(reader, entry, error);
    if (r >= 0 && entry->linked &&
        json_object_set_new_nocheck(reader->linked, entry->path, json_true()) < 0)
        r = refuse(error, reader, "out of memory");
    return r < 0 ? r : 1;
}

static int read_first(struct rootfs_reader *reader, struct rootfs_entry *entry, struct error *error)
{
    char text[32];
    const char *kind = find_mark(reader->entry, MARK_ROOT, text);

    if (!kind || *entry->path || !S_ISDIR(entry->mode))
        return refuse(error, reader, "this is no archive of a root file system");
    if (!text_equal(kind, ROOT_OF_OVERLAY) && !text_equal(kind, ROOT_OF_TREE))
        return refuse(error, reader, "an unknown version");
    if (reader->kind && !text_equal(kind, reader->kind))
        return refuse(error, reader, "an archive of something else");
    reader->kind = text_equal(kind, ROOT_OF_TREE) ? ROOT_OF_TREE : ROOT_OF_OVERLAY;
    entry->kind = ENTRY_DIRECTORY;
    return 1;
}

/* The end: 0, when it is right. */
static int read_last(struct rootfs_reader *reader, struct error *error)
{
    struct archive_entry *entry = NULL;
    uint64_t count;
    char text[32];
    const char *value = find_mark(reader->entry, MARK_END, text);

    if (!value || text_to_uint64(value, &count) < 0 || count != reader->entries)
        return refuse(error, reader, "a second root directory");
    if (archive_read_next_header(reader->archive, &entry) != ARCHIVE_EOF)
        return refuse(error, reader, "something after the end");
    reader->ended = true;
    return 0;
}

int rootfs_reader_next(struct rootfs_reader *reader, struct rootfs_entry *ret, struct error *error)
{
    struct rootfs_entry entry = {0};
    bool is_root;
    int r = reader->ended ? ARCHIVE_EOF : archive_read_next_header(reader->archive, &reader->entry);

    if (reader->ended)
        return 0;
    if (r == ARCHIVE_EOF)
        return refuse(error, reader, "the archive ends too early");
    if (r != ARCHIVE_OK)
        return refuse_archive(error, reader);
    if (reader->entries >= ENTRIES_MAXIMUM)
        return refuse(error, reader, "too many entries");
    free(reader->path);
    reader->path = read_path(archive_entry_pathname(reader->entry));
    entry.path = reader->path;
    entry.archive = reader->entry;
    is_root = !*entry.path;
    r = read_numbers(reader, &entry, error);
    if (r < 0)
        return r;
    if (is_root && reader->entries > 0)
        return read_last(reader, error);
    r = reader->entries == 0 ? read_first(reader, &entry, error)
                             : read_named(reader, &entry, error);
    if (r > 0 && !attributes_are_sound(&entry))
        r = refuse(error, reader, "an extended attribute that is not allowed");
    if (r <= 0)
        return r;
    reader->entries++;
    *ret = entry;
    return 1;
}

int rootfs_reader_data(struct rootfs_reader *reader, const struct rootfs_entry *entry,
                       const void **ret_data, size_t *ret_length, int64_t *ret_offset,
                       struct error *error)
{
    for (;;) {
        int r = archive_read_data_block(reader->archive, ret_data, ret_length, ret_offset);

        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK)
            return refuse_archive(error, reader);
        if (*ret_length == 0)
            continue;
        if (*ret_offset < 0 || *ret_offset > entry->size ||
            *ret_length > (uint64_t)(entry->size - *ret_offset))
            return refuse(error, reader, "more data than the file has");
        return 1;
    }
}

void rootfs_summary_count(struct rootfs_summary *summary, const struct rootfs_entry *entry)
{
    switch (entry->kind) {
    case ENTRY_FILE:
        summary->files++;
        break;
    case ENTRY_DIRECTORY:
        summary->directories += *entry->path != 0;
        summary->opaque += entry->opaque;
        break;
    case ENTRY_SYMLINK:
        summary->symlinks++;
        break;
    case ENTRY_SPECIAL:
        summary->specials++;
        break;
    case ENTRY_HARD_LINK:
        summary->hard_links++;
        break;
    case ENTRY_WHITEOUT:
        summary->whiteouts++;
        break;
    case ENTRY_MOUNT_POINT:
        summary->mount_points++;
        break;
    }
}

/* What is to stay in a directory that is emptied. */
static int note_kept(struct rootfs_contents *contents, const struct rootfs_entry *entry)
{
    CLEANUP(free_ptr) char *parent = path_parent(entry->path);

    if (!*entry->path || entry->kind == ENTRY_WHITEOUT)
        return 0;
    if (entry->opaque &&
        json_object_set_new_nocheck(contents->opaque, entry->path, json_true()) < 0)
        return -ENOMEM;
    if (!contents->is_tree && !json_object_get(contents->opaque, parent))
        return 0;
    return json_object_set_new_nocheck(contents->kept, entry->path, json_true()) < 0 ? -ENOMEM : 0;
}

static int read_through(struct rootfs_reader *reader, struct rootfs_contents *contents,
                        const struct rootfs_entry *entry, struct error *error)
{
    const void *data;
    size_t length;
    int64_t offset;
    int r;

    if (entry->kind != ENTRY_FILE)
        return 0;
    while ((r = rootfs_reader_data(reader, entry, &data, &length, &offset, error)) > 0)
        contents->summary.bytes += length;
    return r;
}

static int read_contents(struct rootfs_reader *reader, struct rootfs_contents *contents,
                         struct error *error)
{
    struct rootfs_entry entry;
    int r;

    while ((r = rootfs_reader_next(reader, &entry, error)) > 0) {
        contents->is_tree = text_equal(reader->kind, ROOT_OF_TREE);
        rootfs_summary_count(&contents->summary, &entry);
        r = read_through(reader, contents, &entry, error);
        if (r < 0)
            return r;
        if (note_kept(contents, &entry) < 0)
            return refuse(error, reader, "out of memory");
    }
    return r;
}

int rootfs_contents_read(struct rootfs_contents *contents, int archive_fd, const char *kind,
                         bool devices, struct error *error)
{
    CLEANUP(rootfs_reader_done) struct rootfs_reader reader = ROOTFS_READER_INIT;
    int r;

    *contents = (struct rootfs_contents){.opaque = json_object(), .kept = json_object()};
    r = rootfs_reader_open(&reader, archive_fd, kind, devices, error);
    return r == 0 ? read_contents(&reader, contents, error) : r;
}

void rootfs_contents_done(struct rootfs_contents *contents)
{
    json_decref(contents->opaque);
    json_decref(contents->kept);
    *contents = ROOTFS_CONTENTS_INIT;
}

int rootfs_archive_check(int archive_fd, const struct rootfs_apply_options *options,
                         struct rootfs_summary *ret, struct error *error)
{
    CLEANUP(rootfs_contents_done) struct rootfs_contents contents = ROOTFS_CONTENTS_INIT;
    int r = rootfs_contents_read(&contents, archive_fd, NULL, options->devices, error);

    if (r == 0 && ret)
        *ret = contents.summary;
    return r;
}
