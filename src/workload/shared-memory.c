/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/shared-memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "copy/file.h"

enum { ENTRIES_MAXIMUM = 1 << 20, DEPTH_MAXIMUM = 32, INDEX_MAXIMUM = 256 << 20 };

#define INDEX "index.json"

/* File names are bytes, JSON strings are UTF-8: other bytes than plain ones become %XX. */
static char *encode_name(const char *name)
{
    struct buffer text = BUFFER_INIT(1 << 20);

    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        if (*c > 0x20 && *c < 0x7f && *c != '%' && *c != '"' && *c != '\\')
            (void)buffer_append(&text, c, 1);
        else
            (void)buffer_printf(&text, "%%%02X", *c);
    }
    return text.data ? text.data : text_copy("");
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *found = c ? strchr(digits, c) : NULL;

    return found ? (int)(found - digits) : -1;
}

/* NULL when it was not made by encode_name. */
static char *decode_name(const char *text)
{
    char *name = allocate(strlen(text) + 1), *next = name;

    for (; *text; text++) {
        if (*text == '%') {
            int high = hex_digit(text[1]), low = high < 0 ? -1 : hex_digit(text[2]);

            if (low < 0 || high * 16 + low == 0) {
                free(name);
                return NULL;
            }
            *next++ = (char)(high * 16 + low);
            text += 2;
        } else {
            *next++ = *text;
        }
    }
    return name;
}

/* A helper process pays for large files only. */
enum { SMALL_FILE = 4 << 20 };

static int copy_small(int from, int to)
{
    CLEANUP(free_ptr) char *piece = allocate(65536);
    ssize_t n;

    while ((n = read(from, piece, 65536)) > 0) {
        int r = file_write_all(to, piece, (size_t)n);

        if (r < 0)
            return r;
    }
    return n < 0 ? -errno : 0;
}

static int copy_contents(int from, int to, uint64_t size, struct error *error)
{
    int r;

    if (size > SMALL_FILE)
        return copy_descriptors(&from, &to, 1, 0, NULL, error);
    r = copy_small(from, to);
    return r < 0 ? error_set(error, copy_write_code(r, "shm-save"), r, "Can't copy") : 0;
}

struct save {
    int snapshot; /* the new directory */
    json_t *entries;
    json_t *seen; /* "dev:inode" of files with several links -> encoded path */
    uint64_t bytes;
    uint64_t files;
};

static int save_error(struct error *error, int number, const char *path)
{
    return error_set(error, number == -ENOSPC || number == ENOSPC ? "disk-full" : "shm-save",
                     number, "Can't save /dev/shm/%s", path);
}

static int save_contents(struct save *save, int fd, uint64_t size, const char *path, json_t *entry,
                         struct error *error)
{
    CLEANUP(free_ptr) char *name = text_format("%" PRIu64, save->files);
    CLEANUP(close_fd)
    int to = openat(save->snapshot, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r;

    if (to < 0)
        return save_error(error, errno, path);
    r = copy_contents(fd, to, size, error);
    if (r < 0)
        return error_wrap(error, r, "Can't save /dev/shm/%s", path);
    save->files++;
    save->bytes += size;
    (void)json_object_set_new(entry, "data", json_string(name));
    (void)json_object_set_new(entry, "size", json_integer((json_int_t)size));
    return 0;
}

/* True when the same file was saved under another name. */
static bool note_hard_link(struct save *save, const struct stat *st, const char *encoded,
                           json_t *entry)
{
    CLEANUP(free_ptr)
    char *key = text_format("%" PRIu64 ":%" PRIu64, (uint64_t)st->st_dev, (uint64_t)st->st_ino);
    json_t *first = json_object_get(save->seen, key);

    if (st->st_nlink < 2)
        return false;
    if (!first) {
        (void)json_object_set_new(save->seen, key, json_string(encoded));
        return false;
    }
    (void)json_object_set(entry, "link", first);
    return true;
}

static const char *kind_of(mode_t mode)
{
    if (S_ISREG(mode))
        return "file";
    if (S_ISDIR(mode))
        return "directory";
    if (S_ISLNK(mode))
        return "symlink";
    return S_ISFIFO(mode) ? "fifo" : NULL; /* sockets are made again by their owners' restore */
}

static json_t *describe(const struct stat *st, const char *encoded)
{
    return json_pack("{ss ss si sI sI sI si}", "path", encoded, "kind", kind_of(st->st_mode),
                     "mode", (int)(st->st_mode & 07777), "uid", (json_int_t)st->st_uid, "gid",
                     (json_int_t)st->st_gid, "mtime", (json_int_t)st->st_mtim.tv_sec, "mtime_nsec",
                     (int)st->st_mtim.tv_nsec);
}

static int save_directory(struct save *save, int fd, const char *prefix, unsigned depth,
                          struct error *error);

static int save_kind(struct save *save, int directory, const char *name, const char *path,
                     const struct stat *st, json_t *entry, unsigned depth, struct error *error)
{
    CLEANUP(close_fd) int fd = -1;

    if (S_ISLNK(st->st_mode)) {
        char target[4096];
        ssize_t n = readlinkat(directory, name, target, sizeof target - 1);

        if (n < 0)
            return save_error(error, errno, path);
        target[n] = 0;
        CLEANUP(free_ptr) char *encoded = encode_name(target);
        (void)json_object_set_new(entry, "target", json_string(encoded));
        return 0;
    }
    if (S_ISFIFO(st->st_mode))
        return 0;
    fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return save_error(error, errno, path);
    if (S_ISDIR(st->st_mode))
        return save_directory(save, steal_fd(&fd), path, depth + 1, error);
    return save_contents(save, fd, (uint64_t)st->st_size, path, entry, error);
}

static int save_entry(struct save *save, int directory, const char *prefix, const char *name,
                      unsigned depth, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("%s%s%s", prefix, *prefix ? "/" : "", name);
    CLEANUP(free_ptr) char *encoded = encode_name(path);
    struct stat st;
    json_t *entry;

    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return save_error(error, errno, path);
    if (!kind_of(st.st_mode))
        return 0;
    if (json_array_size(save->entries) >= ENTRIES_MAXIMUM)
        return save_error(error, E2BIG, path);
    entry = describe(&st, encoded);
    (void)json_array_append_new(save->entries, entry);
    if (S_ISREG(st.st_mode) && note_hard_link(save, &st, encoded, entry))
        return 0;
    return save_kind(save, directory, name, path, &st, entry, depth, error);
}

/* Consumes `fd`. */
static int save_directory(struct save *save, int fd, const char *prefix, unsigned depth,
                          struct error *error)
{
    CLEANUP(close_directory) DIR *stream = fdopendir(fd);
    struct dirent *entry;
    int r = 0;

    if (!stream || depth > DEPTH_MAXIMUM) {
        if (!stream)
            (void)close(fd);
        return save_error(error, stream ? ELOOP : errno, prefix);
    }
    while (r == 0 && (entry = readdir(stream))) {
        if (!text_equal(entry->d_name, ".") && !text_equal(entry->d_name, ".."))
            r = save_entry(save, dirfd(stream), prefix, entry->d_name, depth, error);
    }
    return r;
}

static int write_index(struct save *save, struct error *error)
{
    CLEANUP(free_ptr) char *text = json_dumps(save->entries, JSON_INDENT(1));
    int r = text ? file_write_atomic(save->snapshot, INDEX, text, strlen(text)) : -ENOMEM;

    return r < 0 ? save_error(error, r, "") : 0;
}

int shared_memory_save(int from, int snapshot, uint64_t *ret_bytes, struct error *error)
{
    struct save save = {.snapshot = -1};
    int copy = fd_duplicate(from, 3);
    int r = 0;

    if (copy < 0 || mkdirat(snapshot, SHARED_MEMORY_DIRECTORY, 0700) < 0) {
        r = save_error(error, copy < 0 ? copy : errno, "");
        close_fd(&copy);
        return r;
    }
    save.snapshot =
        openat(snapshot, SHARED_MEMORY_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    save.entries = json_array();
    save.seen = json_object();
    r = save_directory(&save, copy, "", 0, error);
    if (r == 0 && json_array_size(save.entries) > 0)
        r = write_index(&save, error);
    else if (r == 0)
        (void)unlinkat(snapshot, SHARED_MEMORY_DIRECTORY, AT_REMOVEDIR);
    close_fd(&save.snapshot);
    json_decref(save.entries);
    json_decref(save.seen);
    if (r == 0 && ret_bytes)
        *ret_bytes = save.bytes;
    return r;
}

static int load_error(struct error *error, int number, const char *path)
{
    return error_set(error, "shm-load", number, "Can't bring back /dev/shm/%s", path);
}

static const char *get_text(const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));

    return text ? text : "";
}

static json_int_t get_number(const json_t *entry, const char *key)
{
    return json_integer_value(json_object_get(entry, key));
}

static int load_file(int saved, int to, const char *path, const json_t *entry, struct error *error)
{
    CLEANUP(close_fd) int from = file_open_beneath(saved, get_text(entry, "data"), O_RDONLY, 0);
    CLEANUP(close_fd) int fd = file_open_beneath(to, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    uint64_t size = (uint64_t)get_number(entry, "size");
    int r;

    if (from < 0 || fd < 0)
        return load_error(error, from < 0 ? from : fd, path);
    r = copy_contents(from, fd, size, error);
    return r < 0 ? error_wrap(error, r, "Can't bring back /dev/shm/%s", path) : 0;
}

/* The directory that holds `path`, opened beneath `to`, and the last part of the path. */
static int open_parent(int to, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(free_ptr) char *parent = slash ? strndup(path, (size_t)(slash - path)) : text_copy(".");

    *ret_name = slash ? slash + 1 : path;
    return file_open_beneath(to, parent, O_RDONLY | O_DIRECTORY, 0);
}

static int load_link(int to, const char *path, const char *encoded_first, struct error *error)
{
    CLEANUP(free_ptr) char *first = decode_name(encoded_first);
    const char *old_name = NULL, *new_name = NULL;
    CLEANUP(close_fd) int old_parent = first ? open_parent(to, first, &old_name) : -EINVAL;
    CLEANUP(close_fd) int new_parent = open_parent(to, path, &new_name);

    if (old_parent < 0 || new_parent < 0 ||
        linkat(old_parent, old_name, new_parent, new_name, 0) < 0)
        return load_error(error, errno, path);
    return 0;
}

static int make_entry(int saved, int to, const char *path, const json_t *entry, struct error *error)
{
    const char *kind = get_text(entry, "kind"), *name = NULL;
    CLEANUP(close_fd) int parent = open_parent(to, path, &name);
    int r = 0;

    if (parent < 0)
        return load_error(error, parent, path);
    if (text_equal(kind, "file"))
        return load_file(saved, to, path, entry, error);
    if (text_equal(kind, "directory"))
        r = mkdirat(parent, name, 0700);
    else if (text_equal(kind, "fifo"))
        r = mkfifoat(parent, name, 0600);
    else if (text_equal(kind, "symlink")) {
        CLEANUP(free_ptr) char *target = decode_name(get_text(entry, "target"));

        r = target ? symlinkat(target, parent, name) : -1;
    }
    return r < 0 ? load_error(error, errno, path) : 0;
}

static int set_attributes(int to, const char *path, const json_t *entry, struct error *error)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = (time_t)get_number(entry, "mtime"),
                                 .tv_nsec = (long)get_number(entry, "mtime_nsec")}};
    const char *name = NULL;
    CLEANUP(close_fd) int parent = open_parent(to, path, &name);

    if (parent < 0 || fchownat(parent, name, (uid_t)get_number(entry, "uid"),
                               (gid_t)get_number(entry, "gid"), AT_SYMLINK_NOFOLLOW) < 0)
        return load_error(error, parent < 0 ? parent : errno, path);
    if (!text_equal(get_text(entry, "kind"), "symlink") &&
        fchmodat(parent, name, (mode_t)get_number(entry, "mode") & 07777, 0) < 0)
        return load_error(error, errno, path);
    if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return load_error(error, errno, path);
    return 0;
}

static int load_entry(int saved, int to, const json_t *entry, struct error *error)
{
    CLEANUP(free_ptr) char *path = decode_name(get_text(entry, "path"));
    const char *link = get_text(entry, "link");
    int r;

    if (!path || !*path)
        return error_set(error, "snapshot-manifest", EBADMSG, "A name in shm/" INDEX " is broken");
    if (*link)
        return load_link(to, path, link, error);
    r = make_entry(saved, to, path, entry, error);
    return r;
}

static int read_index(int saved, json_t **ret_entries, struct error *error)
{
    CLEANUP(free_ptr) char *data = NULL;
    size_t length = 0;
    json_error_t where;
    json_t *entries;
    int r = file_read(saved, INDEX, INDEX_MAXIMUM, &data, &length);

    if (r < 0)
        return load_error(error, r, INDEX);
    entries = json_loadb(data, length, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_array(entries)) {
        json_decref(entries);
        return error_set(error, "snapshot-manifest", EBADMSG, "shm/" INDEX " can't be read: %s",
                         where.text);
    }
    *ret_entries = entries;
    return 0;
}

int shared_memory_load(int snapshot, int to, struct error *error)
{
    CLEANUP(close_fd)
    int saved = file_open_beneath(snapshot, SHARED_MEMORY_DIRECTORY, O_RDONLY | O_DIRECTORY, 0);
    json_t *entries = NULL;
    size_t count, i;
    int r;

    if (saved == -ENOENT)
        return 0;
    if (saved < 0)
        return load_error(error, saved, "");
    r = read_index(saved, &entries, error);
    if (r < 0)
        return r;
    count = json_array_size(entries);
    for (i = 0; r == 0 && i < count; i++)
        r = load_entry(saved, to, json_array_get(entries, i), error);
    /* Deepest last in the array: attributes backwards, so that directories keep their times. */
    for (i = count; r == 0 && i-- > 0;) {
        const json_t *entry = json_array_get(entries, i);
        CLEANUP(free_ptr) char *path = decode_name(get_text(entry, "path"));

        r = set_attributes(to, path, entry, error);
    }
    json_decref(entries);
    return r;
}
