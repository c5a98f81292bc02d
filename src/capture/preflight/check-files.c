/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose name is gone, hidden, or was never there: CRIU finds files again by their path. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"
#include "workload/keeper.h"

#define DELETED " (deleted)"
#define GHOST_LIMIT_DEFAULT ((uint64_t)1 << 20)
#define MQUEUE_MAGIC 0x19800202

/* A file that a process holds, by descriptor, mapping or as its current directory. */
struct held_file {
    char where[48];   /* "descriptor 3" */
    const char *path; /* as /proc shows it */
    char link[64];    /* below /proc/<pid> */
    int mount;
    dev_t device;
    uint64_t inode;
    unsigned links;
    uint64_t stored_bytes;
    bool directory, deleted;
};

/* Opens as the process would see `path`: links can't lead out of its root directory. */
static int open_in_root(const struct inspected *inspected, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    CLEANUP(close_fd)
    int root = openat(inspected->directory, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    long fd = root < 0 ? -1 : syscall(SYS_openat2, root, path, &how, sizeof how);

    return fd < 0 ? -1 : (int)fd;
}

static bool has_plain_root(const struct inspected *inspected)
{
    char root[8];

    return readlinkat(inspected->directory, "root", root, sizeof root) == 1;
}

static bool mount_known(const struct inspection *inspection, int id)
{
    for (size_t i = 0; i < inspection->mounts_count; i++) {
        if (mount_table_find(&inspection->mounts[i].table, id))
            return true;
    }
    return false;
}

static bool is_message_queue(const struct inspected *inspected, const struct held_file *file)
{
    CLEANUP(close_fd) int fd = openat(inspected->directory, file->link, O_PATH | O_CLOEXEC);
    struct statfs fs;

    return fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == MQUEUE_MAGIC;
}

static void check_mount(struct inspection *inspection, const struct inspected *inspected,
                        const struct held_file *file)
{
    if (text_starts_with(file->path, "/secretmem"))
        return; /* told by check_descriptors and check_mappings */
    if (is_message_queue(inspected, file))
        finding_add(inspection, "message-queue", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "%s is the POSIX message queue %s", file->where, file->path);
    else
        finding_add(inspection, "lost-mount", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "%s is %s on a file system that is not mounted where the process lives",
                    file->where, file->path);
}

/* Whether another file (or none) is found at the path, because something was mounted over it. */
static void check_hidden(struct inspection *inspection, const struct inspected *inspected,
                         const struct held_file *file)
{
    const struct mount_table *mounts = inspection_mounts(inspection, inspected);
    const struct mount *holder = mounts ? mount_table_holder(mounts, file->path) : NULL;
    CLEANUP(close_fd) int fd = -1;
    struct stat st;

    if (!holder || holder->id == file->mount || file->deleted || !has_plain_root(inspected))
        return;
    fd = open_in_root(inspected, file->path, O_PATH | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode)
        return;
    finding_add(inspection, "hidden-by-mount", PREFLIGHT_REFUSE, inspected->process, NULL,
                "%s is %s, which is hidden by the mount on %s", file->where, file->path,
                holder->point);
}

static bool is_link_remap(const char *name)
{
    return text_starts_with(name, "link_remap.");
}

static bool told_before(const struct inspection *inspection, const char *directory)
{
    for (size_t i = 0; i < inspection->report.count; i++) {
        if (text_equal(inspection->report.findings[i].code, "remap-leftover") &&
            text_equal(inspection->report.findings[i].details, directory))
            return true;
    }
    return false;
}

static void check_leftovers(struct inspection *inspection, const struct inspected *inspected,
                            const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(free_ptr) char *directory = text_copy(path);
    CLEANUP(close_directory) DIR *stream = NULL;
    const struct dirent *entry;
    int fd;

    if (!slash)
        return;
    directory[slash == path ? 1 : slash - path] = 0;
    fd = open_in_root(inspected, directory, O_RDONLY | O_DIRECTORY);
    stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        close_fd(&fd);
        return;
    }
    while ((entry = readdir(stream))) {
        if (!is_link_remap(entry->d_name) || told_before(inspection, directory))
            continue;
        finding_add(inspection, "remap-leftover", PREFLIGHT_WARN, inspected->process,
                    text_copy(directory), "%s/%s was left by an earlier capture", directory,
                    entry->d_name);
        break;
    }
}

static char *plain_path(const char *path)
{
    char *plain = text_copy(path);

    if (text_ends_with(plain, DELETED))
        plain[strlen(plain) - strlen(DELETED)] = 0;
    return plain;
}

/* The name is gone, but the file has another one: CRIU makes a name link_remap.N beside it. */
static void check_linked(struct inspection *inspection, const struct inspected *inspected,
                         const struct held_file *file)
{
    CLEANUP(free_ptr) char *path = plain_path(file->path);

    if (inspection->request->private_shm && text_starts_with(path, "/dev/shm/"))
        return;
    finding_add(inspection, "deleted-name", PREFLIGHT_NOTE, inspected->process, NULL,
                "%s is %s, a name that was removed while the file lives on under another",
                file->where, path);
    check_leftovers(inspection, inspected, path);
}

static void check_deleted(struct inspection *inspection, const struct inspected *inspected,
                          const struct held_file *file)
{
    uint64_t limit = inspection->request->ghost_limit;

    limit = limit ? limit : GHOST_LIMIT_DEFAULT;
    if (file->links > 0) {
        check_linked(inspection, inspected, file);
    } else if (file->stored_bytes > limit) {
        CLEANUP(free_ptr) char *size = text_bytes(file->stored_bytes);
        CLEANUP(free_ptr) char *maximum = text_bytes(limit);

        finding_add(inspection, "deleted-file-large", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "%s is the deleted file %s of %s; the limit is %s", file->where, file->path,
                    size, maximum);
    }
}

static void check_held_file(struct inspection *inspection, const struct inspected *inspected,
                            const struct held_file *file)
{
    if (file->mount >= 0 && !mount_known(inspection, file->mount)) {
        check_mount(inspection, inspected, file);
        return;
    }
    check_hidden(inspection, inspected, file);
    if (file->deleted && !file->directory)
        check_deleted(inspection, inspected, file);
}

/* CRIU compares the size of every file when it opens it again. */
static void check_written(struct inspection *inspection, const struct inspected *inspected,
                          const struct descriptor *descriptor)
{
    if (descriptor->kind == DESCRIPTOR_FILE && inspection->request->leave_running &&
        (descriptor->flags & O_ACCMODE) != O_RDONLY && !(descriptor->flags & O_PATH) &&
        !descriptor->deleted && !text_starts_with(descriptor->target, "/proc/") &&
        !text_starts_with(descriptor->target, "/sys/") &&
        !text_starts_with(descriptor->target, KEEPER_PLACE "/")) /* our own log is appended to */
        finding_add(inspection, "file-written", PREFLIGHT_WARN, inspected->process, NULL,
                    "descriptor %d is open for writing to %s", descriptor->fd, descriptor->target);
}

static bool is_held_by_path(enum descriptor_kind kind)
{
    return kind == DESCRIPTOR_FILE || kind == DESCRIPTOR_DIRECTORY || kind == DESCRIPTOR_FIFO ||
           kind == DESCRIPTOR_CHARACTER_DEVICE;
}

static void check_descriptor_file(struct inspection *inspection, const struct inspected *inspected,
                                  const struct descriptor *descriptor)
{
    struct held_file file = {
        .path = descriptor->target,
        .mount = descriptor->mount,
        .device = descriptor->device,
        .inode = descriptor->inode,
        .links = descriptor->links,
        .stored_bytes = descriptor->stored_bytes,
        .directory = descriptor->kind != DESCRIPTOR_FILE,
        .deleted = descriptor->deleted,
    };

    (void)snprintf(file.where, sizeof file.where, "descriptor %d", descriptor->fd);
    (void)snprintf(file.link, sizeof file.link, "fd/%d", descriptor->fd);
    check_held_file(inspection, inspected, &file);
}

/* Fills in what statx(2) knows of the file behind `file->link`. */
static bool look_behind(const struct inspected *inspected, struct held_file *file)
{
    struct statx sx;

    if (statx(inspected->directory, file->link, 0, STATX_BASIC_STATS | STATX_MNT_ID, &sx) < 0)
        return false;
    file->mount = sx.stx_mask & STATX_MNT_ID ? (int)sx.stx_mnt_id : -1;
    file->device = makedev(sx.stx_dev_major, sx.stx_dev_minor);
    file->inode = sx.stx_ino;
    file->links = sx.stx_nlink;
    file->stored_bytes = sx.stx_blocks * 512;
    file->directory = !S_ISREG(sx.stx_mode);
    return true;
}

static void check_current_directory(struct inspection *inspection,
                                    const struct inspected *inspected)
{
    struct held_file file = {.where = "its current directory", .link = "cwd"};
    char path[PATH_MAX + sizeof DELETED];
    ssize_t n = readlinkat(inspected->directory, file.link, path, sizeof path - 1);

    if (n < 0 || !look_behind(inspected, &file))
        return;
    path[n] = 0;
    file.path = path;
    file.deleted = text_ends_with(path, DELETED);
    check_held_file(inspection, inspected, &file);
}

/* One mapping of each file: programs map a library in several pieces, one after the other. */
static void check_mapped_files(struct inspection *inspection, const struct inspected *inspected)
{
    uint64_t last = 0;

    for (size_t i = 0; i < inspected->mappings.count; i++) {
        const struct mapping *mapping = &inspected->mappings.mappings[i];
        struct held_file file = {.where = "a mapped file", .path = mapping->name};

        if ((mapping->kind != MAPPING_FILE && mapping->kind != MAPPING_DELETED_FILE) ||
            mapping->inode == last)
            continue;
        last = mapping->inode;
        file.deleted = mapping->kind == MAPPING_DELETED_FILE;
        (void)snprintf(file.link, sizeof file.link, "map_files/%" PRIx64 "-%" PRIx64,
                       mapping->start, mapping->end);
        if (look_behind(inspected, &file))
            check_held_file(inspection, inspected, &file);
    }
}

void check_files(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->count; i++) {
        const struct inspected *inspected = &inspection->processes[i];

        for (size_t j = 0; j < inspected->descriptors.count; j++) {
            if (is_held_by_path(inspected->descriptors.descriptors[j].kind))
                check_descriptor_file(inspection, inspected,
                                      &inspected->descriptors.descriptors[j]);
            check_written(inspection, inspected, &inspected->descriptors.descriptors[j]);
        }
        check_current_directory(inspection, inspected);
        check_mapped_files(inspection, inspected);
    }
}
