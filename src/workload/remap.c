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

#define CRIU_NAME "link_remap."
#define OUR_NAME ".stasis-remap-"

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Another name of the same file in the same directory; NULL when there is none. */
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
            fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_dev == wanted.st_dev && st.st_ino == wanted.st_ino)
            return text_format("%.*s%s", length, path, entry->d_name);
    }
    return NULL;
}

static int keep_one(const char *prefix, const char *path, char *kept, json_t *list,
                    struct error *error)
{
    CLEANUP(free_ptr) char *from = text_format("%s%s", prefix, path);
    CLEANUP(free_ptr) char *to = text_format("%s%s", prefix, kept);

    (void)unlink(to);
    if (linkat(AT_FDCWD, from, AT_FDCWD, to, 0) < 0)
        return error_set(error, "remap", errno, "Can't keep the deleted file %s", path);
    (void)json_array_append_new(list, json_pack("{ss ss}", "path", path, "kept", kept));
    return 0;
}

int remap_keep(int images, const char *prefix, const char *skip, const char *id,
               const char *version, json_t **ret_list, struct error *error)
{
    char **names = NULL;
    json_t *list = json_array();
    int r = criu_image_file_names(images, &names, error);

    for (char **name = names; r == 0 && *name; name++) {
        const char *part = last_part(*name);
        CLEANUP(free_ptr) char *kept = NULL;

        if ((*name)[0] != '/' || !text_starts_with(part, CRIU_NAME) ||
            (skip && text_starts_with(*name, skip)))
            continue;
        kept = find_sibling(prefix, *name);
        if (kept) {
            (void)json_array_append_new(list, json_pack("{ss ss}", "path", *name, "kept", kept));
            continue;
        }
        kept = text_format("%.*s" OUR_NAME "%s-%s-%s", (int)(part - *name), *name, id, version,
                           part + strlen(CRIU_NAME));
        r = keep_one(prefix, *name, kept, list, error);
    }
    criu_names_free(names);
    if (r < 0) {
        remap_forget(list);
        json_decref(list);
        return r;
    }
    *ret_list = list;
    return 0;
}

static const char *text_of(const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));

    return text ? text : "";
}

int remap_provide(const json_t *list, struct error *error)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *path = text_of(entry, "path"), *kept = text_of(entry, "kept");

        if (!text_starts_with(last_part(path), CRIU_NAME) || kept[0] != '/')
            return error_set(error, "snapshot-manifest", EBADMSG,
                             "A remapped file has an impossible name");
        if (linkat(AT_FDCWD, kept, AT_FDCWD, path, 0) < 0 && errno != EEXIST)
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
            access(text_of(entry, "kept"), F_OK) == 0)
            (void)unlink(path);
    }
}

void remap_forget(const json_t *list)
{
    remap_withdraw(list);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *kept = text_of(json_array_get(list, i), "kept");

        if (text_starts_with(last_part(kept), OUR_NAME))
            (void)unlink(kept);
    }
}
