/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "basic/cleanup.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/text.h"
#include "image/kept-names.h"
#include "image/names.h"
#include "image/scratch.h"
#include "image/snapshot.h"
#include "image/tree.h"

const char *snapshot_state_name(enum snapshot_state state)
{
    static const char *const names[] = {
        [SNAPSHOT_COMPLETE] = "complete",
        [SNAPSHOT_DAMAGED] = "damaged",
        [SNAPSHOT_UNSUPPORTED] = "unsupported",
    };

    return names[state];
}

static int add_entry(struct snapshot_list *list, const struct snapshot_entry *entry)
{
    struct snapshot_entry *grown = list->entries;

    /* Capacity: the next power of two. */
    if ((list->count & (list->count - 1)) == 0)
        grown = realloc(list->entries, (list->count ? list->count * 2 : 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    list->entries = grown;
    grown[list->count++] = *entry;
    return 0;
}

static void entry_done(struct snapshot_entry *entry)
{
    free(entry->id);
    free(entry->version);
    free(entry->problem);
    free(entry->created);
}

static uint64_t bytes_below(int versions, const char *version)
{
    CLEANUP(close_fd) int fd = file_open_beneath(versions, version, O_RDONLY | O_DIRECTORY, 0);
    CLEANUP(tree_done) struct tree tree = TREE_INIT;
    uint64_t bytes = 0;

    if (fd < 0 || tree_read(fd, &tree, NULL) < 0)
        return 0;
    for (size_t i = 0; i < tree.count; i++) {
        if (S_ISREG(tree.entries[i].stat.st_mode))
            bytes += (uint64_t)tree.entries[i].stat.st_size;
    }
    return bytes;
}

static int list_version(const char *root, const char *id, int versions, const char *version,
                        struct snapshot_list *list)
{
    struct snapshot_entry entry = {.id = text_copy(id), .version = text_copy(version)};
    CLEANUP(free_ptr) char *reference = text_format("%s@%s", id, version);
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    struct error error = ERROR_INIT;
    int r = snapshot_open(root, reference, &snapshot, &error);

    if (r == 0) {
        entry.created = text_copy(snapshot_created(snapshot));
        entry.bytes = snapshot_bytes(snapshot);
    } else {
        entry.state =
            error_is(&error, "snapshot-version") ? SNAPSHOT_UNSUPPORTED : SNAPSHOT_DAMAGED;
        entry.problem = STEAL_PTR(error.message);
        entry.bytes = bytes_below(versions, version);
    }
    r = error_is(&error, "snapshot-missing") ? 0 : add_entry(list, &entry); /* deleted meanwhile */
    if (r < 0 || error_is(&error, "snapshot-missing"))
        entry_done(&entry);
    error_done(&error);
    return r;
}

/* What can't be opened is no snapshot that anybody could restore: left out. */
static int list_id(const char *root, const char *id, struct snapshot_list *list)
{
    CLEANUP(names_done) struct names names = NAMES_INIT;
    CLEANUP(close_fd) int versions = snapshot_versions_open(root, id, NULL);
    uint64_t version;
    int r = versions < 0 ? 0 : names_read(versions, &names);

    for (size_t i = 0; r == 0 && i < names.count; i++) {
        if (snapshot_version_parse(names.names[i], &version) == 0)
            r = list_version(root, id, versions, names.names[i], list);
    }
    return r == -ENOMEM ? r : 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct snapshot_entry *left = a, *right = b;
    int order = strcmp(left->id, right->id);

    if (order)
        return order;
    /* Without leading zeros, the longer number is the greater one. */
    if (strlen(left->version) != strlen(right->version))
        return strlen(left->version) < strlen(right->version) ? -1 : 1;
    return strcmp(left->version, right->version);
}

static int list_all(const char *root, struct snapshot_list *list, struct error *error)
{
    CLEANUP(close_fd) int directory = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(names_done) struct names names = NAMES_INIT;
    int r = directory < 0 ? -errno : names_read(directory, &names);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_set(error, "snapshot-read", r, "Can't list the snapshots in '%s'", root);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        if (snapshot_id_check(names.names[i], NULL) == 0)
            r = list_id(root, names.names[i], list);
    }
    return r < 0 ? error_set(error, "out-of-memory", r, "Too many snapshots") : 0;
}

int store_list(const char *root, const char *id, struct snapshot_list *ret_list,
               struct error *error)
{
    struct snapshot_list list = SNAPSHOT_LIST_INIT;
    int r = id ? snapshot_id_check(id, error) : list_all(root, &list, error);

    if (r == 0 && id && list_id(root, id, &list) < 0)
        r = error_set(error, "out-of-memory", ENOMEM, "Too many snapshots");
    if (r < 0) {
        snapshot_list_done(&list);
        return r;
    }
    if (list.count)
        qsort(list.entries, list.count, sizeof *list.entries, compare_entries);
    *ret_list = list;
    return 0;
}

void snapshot_list_done(struct snapshot_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        entry_done(&list->entries[i]);
    free(list->entries);
    *list = SNAPSHOT_LIST_INIT;
}

/* Renames it out of sight; the caller frees the new name. */
static int hide(int versions, const char *version, char **ret_name)
{
    struct scratch_name name = scratch_name_new(SCRATCH_TRASH, strtoull(version, NULL, 10));
    CLEANUP(free_ptr) char *trash = scratch_name_format(&name);

    if (renameat(versions, version, versions, trash) < 0 || fsync(versions) < 0)
        return -errno;
    *ret_name = STEAL_PTR(trash);
    return 0;
}

/* Whether `fd` is still what the name stands for. */
static bool is_named(int versions, const char *version, int fd)
{
    struct stat opened, named;

    return fstat(fd, &opened) == 0 &&
           fstatat(versions, version, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* Takes the lock that says that nobody uses it. `*ret_fd` stays -1 for what can't be opened: that
 * is no snapshot in use. */
static int lock_version(int versions, const char *version, int *ret_fd)
{
    CLEANUP(close_fd)
    int fd = openat(versions, version, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? -ENOENT : 0;
    if (!snapshot_lock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return -EBUSY;
    if (!is_named(versions, version, fd))
        return -ENOENT;
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int delete_version(const char *root, const char *id, int versions, const char *version,
                          struct error *error)
{
    CLEANUP(close_fd) int lock = -1;
    CLEANUP(free_ptr) char *trash = NULL;
    int r = lock_version(versions, version, &lock);

    if (r == -EBUSY)
        return error_set(error, "snapshot-busy", r, "Can't delete '%s@%s'", id, version);
    if (r == -ENOENT)
        return error_set(error, "snapshot-missing", r, "There is no snapshot '%s@%s' in '%s'", id,
                         version, root);
    r = hide(versions, version, &trash);
    if (r < 0)
        return error_set(error, "snapshot-write", r, "Can't delete '%s@%s'", id, version);
    r = fault_point("image-delete", error);
    if (r < 0)
        return r;
    r = kept_names_remove_with(versions, trash);
    if (r < 0)
        return error_set(error, "snapshot-write", r, "Can't remove all of '%s@%s'", id, version);
    return 0;
}

static int delete_all(const char *root, const char *id, int versions, struct error *error)
{
    CLEANUP(names_done) struct names names = NAMES_INIT;
    bool found = false;
    uint64_t version;
    int r = names_read(versions, &names);

    if (r < 0)
        return error_set(error, "snapshot-read", r, "Can't list the versions of '%s'", id);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        if (snapshot_version_parse(names.names[i], &version) < 0)
            continue;
        found = true;
        r = delete_version(root, id, versions, names.names[i], error);
    }
    if (r == 0 && !found)
        return error_set(error, "snapshot-missing", ENOENT, "There is no snapshot '%s' in '%s'", id,
                         root);
    return r;
}

void store_remove_empty(const char *root, const char *id)
{
    CLEANUP(close_fd) int directory = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_fd)
    int parent =
        directory < 0 ? -1 : openat(directory, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (parent < 0 || unlinkat(parent, "versions", AT_REMOVEDIR) < 0)
        return;
    (void)unlinkat(parent, SNAPSHOT_DONE, 0); /* nothing may look restorable any more */
    (void)unlinkat(directory, id, AT_REMOVEDIR);
}

int store_delete(const char *root, const char *reference, struct error *error)
{
    CLEANUP(free_ptr) char *id = NULL;
    CLEANUP(free_ptr) char *version = NULL;
    CLEANUP(close_fd) int versions = -1;
    int r = snapshot_reference_parse(reference, &id, &version, error);

    if (r < 0)
        return r;
    versions = snapshot_versions_open(root, id, error);
    if (versions < 0)
        return versions;
    r = version ? delete_version(root, id, versions, version, error)
                : delete_all(root, id, versions, error);
    store_remove_empty(root, id);
    return r;
}
