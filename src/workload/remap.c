/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/remap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "criu/images.h"
#include "image/kept-names.h"

#define CRIU_NAME "link_remap."

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static const char *text_of(const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));

    return text ? text : "";
}

/* Another name of the same file in the same directory, which lasts (not one that another snapshot
 * keeps); NULL when there is none. */
static char *find_sibling(const char *prefix, const char *path)
{
    int length = (int)(last_part(path) - path);
    CLEANUP(free_ptr) char *place = text_format("%s%.*s", prefix, length, path);
    CLEANUP(free_ptr) char *whole = text_format("%s%s", prefix, path);
    CLEANUP(close_directory) DIR *directory = opendir(place);
    struct stat wanted, st;
    struct dirent *entry;

    if (!directory || lstat(whole, &wanted) < 0)
        return NULL;
    while ((entry = readdir(directory))) {
        if (entry->d_ino == wanted.st_ino && !text_starts_with(entry->d_name, CRIU_NAME) &&
            !text_starts_with(entry->d_name, KEPT_NAME_PREFIX) &&
            fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_dev == wanted.st_dev && st.st_ino == wanted.st_ino)
            return text_format("%.*s%s", length, path, entry->d_name);
    }
    return NULL;
}

/* A name of ours in the directory of `path` that nobody has yet. */
static char *free_name(const struct remap_request *request, const char *path)
{
    const char *part = last_part(path);

    for (unsigned attempt = 0;; attempt++) {
        CLEANUP(free_ptr)
        char *name = text_format("%.*s" KEPT_NAME_PREFIX "%s-%s-%s.%u", (int)(part - path), path,
                                 request->id, request->version, part + strlen(CRIU_NAME), attempt);
        CLEANUP(free_ptr) char *whole = text_format("%s%s", request->prefix, name);

        if (faccessat(AT_FDCWD, whole, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            return STEAL_PTR(name);
    }
}

static json_t *choose_names(const struct remap_request *request, char **names)
{
    json_t *list = json_array();

    for (char **name = names; *name; name++) {
        CLEANUP(free_ptr) char *kept = NULL;

        if ((*name)[0] != '/' || !text_starts_with(last_part(*name), CRIU_NAME) ||
            (request->skip && text_starts_with(*name, request->skip)))
            continue;
        kept = find_sibling(request->prefix, *name);
        if (!kept)
            kept = free_name(request, *name);
        (void)json_array_append_new(list, json_pack("{ss ss}", "path", *name, "kept", kept));
    }
    return list;
}

static bool is_ours(const json_t *entry)
{
    return text_starts_with(last_part(text_of(entry, "kept")), KEPT_NAME_PREFIX);
}

/* Listed in the snapshot first, so that they are found whatever happens to this process. */
static int make_names(const struct remap_request *request, const json_t *list, struct error *error)
{
    json_t *ours = json_array();
    int r = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (is_ours(json_array_get(list, i)))
            (void)json_array_append(ours, json_object_get(json_array_get(list, i), "kept"));
    }
    if (json_array_size(ours) > 0)
        r = kept_names_write(request->snapshot, ours, error);
    json_decref(ours);
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        CLEANUP(free_ptr) char *from = text_format("%s%s", request->prefix, text_of(entry, "path"));
        CLEANUP(free_ptr) char *to = text_format("%s%s", request->prefix, text_of(entry, "kept"));

        if (is_ours(entry) && linkat(AT_FDCWD, from, AT_FDCWD, to, 0) < 0)
            r = error_set(error, "remap", errno, "Can't keep the deleted file %s",
                          text_of(entry, "path"));
    }
    return r;
}

int remap_keep(const struct remap_request *request, json_t **ret_list, struct error *error)
{
    char **names = NULL;
    json_t *list;
    int r = criu_image_file_names(request->images, &names, error);

    if (r < 0)
        return r;
    list = choose_names(request, names);
    criu_names_free(names);
    r = make_names(request, list, error);
    if (r < 0)
        json_decref(list);
    else
        *ret_list = list;
    return r;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat first, second;
    bool known = lstat(a, &first) == 0 && lstat(b, &second) == 0;

    return known && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

int remap_provide(const json_t *list, struct error *error)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *path = text_of(entry, "path"), *kept = text_of(entry, "kept");

        if (!text_starts_with(last_part(path), CRIU_NAME) || kept[0] != '/')
            return error_set(error, "snapshot-manifest", EBADMSG,
                             "A remapped file has an impossible name");
        if (linkat(AT_FDCWD, kept, AT_FDCWD, path, 0) < 0 &&
            !(errno == EEXIST && is_same_file(kept, path)))
            return error_set(error, "remap", errno, "Can't bring back %s", path);
    }
    return 0;
}

void remap_withdraw(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *path = text_of(entry, "path");

        if (text_starts_with(last_part(path), CRIU_NAME) &&
            is_same_file(text_of(entry, "kept"), path))
            (void)unlink(path);
    }
}

void remap_clear_ghosts(int images)
{
    char **names = NULL;

    if (criu_image_ghost_names(images, &names, NULL) < 0)
        return;
    for (char **name = names; *name; name++) {
        if ((*name)[0] == '/')
            (void)unlink(*name);
    }
    criu_names_free(names);
}
