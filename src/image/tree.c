/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct tree_entry *)a)->path, ((const struct tree_entry *)b)->path);
}

static int add_entry(struct tree *tree, char *path, const struct stat *st)
{
    if (tree->count == tree->capacity) {
        size_t capacity = tree->capacity ? tree->capacity * 2 : 64;
        struct tree_entry *grown;

        if (tree->count >= TREE_ENTRIES_MAXIMUM)
            return -EFBIG;
        grown = realloc(tree->entries, capacity * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        tree->entries = grown;
        tree->capacity = capacity;
    }
    tree->entries[tree->count++] = (struct tree_entry){.path = path, .stat = *st};
    return 0;
}

static int read_directory(int fd, const char *prefix, unsigned depth, dev_t device,
                          struct tree *tree);

static int read_entry(int directory, const char *prefix, const char *name, unsigned depth,
                      dev_t device, struct tree *tree)
{
    char *path = prefix ? text_format("%s/%s", prefix, name) : text_copy(name);
    struct stat st;
    int fd, r;

    r = fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno
                                                               : add_entry(tree, path, &st);
    if (r < 0) {
        free(path);
        return r == -ENOENT ? 0 : r;
    }
    if (!S_ISDIR(st.st_mode) || st.st_dev != device)
        return 0;
    if (depth >= TREE_DEPTH_MAXIMUM)
        return -ELOOP;
    fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : read_directory(fd, path, depth + 1, device, tree);
}

/* Consumes `fd`. */
static int read_directory(int fd, const char *prefix, unsigned depth, dev_t device,
                          struct tree *tree)
{
    CLEANUP(close_directory) DIR *stream = fdopendir(fd);
    struct dirent *entry;

    if (!stream) {
        int r = -errno;

        (void)close(fd);
        return r;
    }
    for (;;) {
        int r;

        errno = 0;
        entry = readdir(stream);
        if (!entry)
            return -errno;
        if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
            continue;
        r = read_entry(dirfd(stream), prefix, entry->d_name, depth, device, tree);
        if (r < 0)
            return r;
    }
}

int tree_read(int directory, struct tree *ret_tree, struct error *error)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct tree tree = TREE_INIT;
    struct stat st;
    int r = 0;

    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
        close_fd(&fd);
    } else {
        r = read_directory(fd, NULL, 0, st.st_dev, &tree);
    }
    if (r < 0) {
        tree_done(&tree);
        return error_set(error, "snapshot-read", r, "Can't list the files of the snapshot");
    }
    if (tree.count)
        qsort(tree.entries, tree.count, sizeof *tree.entries, compare_entries);
    *ret_tree = tree;
    return 0;
}

void tree_done(struct tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        free(tree->entries[i].path);
    free(tree->entries);
    *tree = TREE_INIT;
}

bool tree_is_directory(const struct tree_entry *entry, dev_t device)
{
    return S_ISDIR(entry->stat.st_mode) && entry->stat.st_dev == device;
}

uint64_t tree_allocated(const struct tree *tree)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < tree->count; i++)
        bytes += (uint64_t)tree->entries[i].stat.st_blocks * 512;
    return bytes;
}
