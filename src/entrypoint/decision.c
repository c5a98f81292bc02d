/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/decision.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "entrypoint/json-scan.h"

enum { DONE_MAXIMUM = 1 << 20 };

static bool says(const char *done, const char *word)
{
    const char *value = json_scan_member(done, "success");

    return value && text_starts_with(value, word) && !isalnum((unsigned char)value[strlen(word)]);
}

/* What is being written may still be empty or cut off. */
static bool is_whole(const char *text)
{
    size_t length = strlen(text);

    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    return length > 0 && text[length - 1] == '}';
}

/* {"success": true, ...}; older writers put a bare date there. */
bool decision_done_is_success(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    if (*text != '{')
        return isdigit((unsigned char)*text);
    return is_whole(text) && says(text, "true");
}

/* Why a checkpoint.done that does not say success counts as none; the caller frees it. */
static char *what_is_wrong(const char *where, const char *done)
{
    CLEANUP(free_ptr) char *why = json_scan_string(done, "error");

    if (!is_whole(done) || !says(done, "false"))
        return text_format("%s/checkpoint.done is damaged or half written: it says neither "
                           "\"success\": true nor false",
                           where);
    return text_format("the checkpoint in %s failed%s%s", where, why ? ": " : "", why ? why : "");
}

static bool is_a_name(const char *id)
{
    return *id && id[0] != '.' && !strchr(id, '/');
}

void snapshot_place_done(struct snapshot_place *place)
{
    free(place->root);
    free(place->id);
    *place = (struct snapshot_place){0};
}

int snapshot_place_parse(const char *path, struct snapshot_place *ret_place)
{
    CLEANUP(free_ptr) char *copy = text_copy(path);
    size_t length = strlen(copy);
    char *slash;

    while (length > 1 && (copy[length - 1] == '/' || isspace((unsigned char)copy[length - 1])))
        copy[--length] = 0;
    slash = strrchr(copy, '/');
    if (copy[0] != '/' || !slash || !is_a_name(slash + 1))
        return -EINVAL;
    *slash = 0;
    *ret_place =
        (struct snapshot_place){.root = text_copy(*copy ? copy : "/"), .id = text_copy(slash + 1)};
    return 0;
}

int snapshot_place_named(const struct settings *settings, struct snapshot_place *ret_place,
                         char **ret_reason)
{
    if (settings->location && !settings->base) {
        if (snapshot_place_parse(settings->location, ret_place) == 0)
            return 0;
        *ret_reason = text_copy("DYN_CHECKPOINT_LOCATION is no path of a snapshot");
        return -EINVAL;
    }
    if (!settings->hash) {
        *ret_reason = text_copy("DYN_CHECKPOINT_HASH is not set");
        return -ENOENT;
    }
    if (!is_a_name(settings->hash)) {
        *ret_reason = text_copy("DYN_CHECKPOINT_HASH is no name of a snapshot");
        return -EINVAL;
    }
    *ret_place = (struct snapshot_place){
        .root = text_copy(settings->base ? settings->base : SETTINGS_BASE_DEFAULT),
        .id = text_copy(settings->hash)};
    return 0;
}

/* A version is complete or absent (docs/snapshot-format.md); what is being made is hidden. */
static bool has_version(int directory)
{
    int versions = openat(directory, "versions", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_directory) DIR *stream = versions < 0 ? NULL : fdopendir(versions);
    const struct dirent *entry;

    while (stream && (entry = readdir(stream))) {
        CLEANUP(free_ptr) char *manifest = text_format("%s/manifest.json", entry->d_name);

        if (entry->d_name[0] != '.' && faccessat(versions, manifest, F_OK, 0) == 0)
            return true;
    }
    return false;
}

static bool look(int directory, const char *where, char **ret_reason)
{
    CLEANUP(free_ptr) char *done = NULL;
    struct stat st;
    int r = fstatat(directory, "checkpoint.done", &st, 0) < 0 ? -errno : 0;

    if (r == 0 && !S_ISREG(st.st_mode)) {
        *ret_reason = text_format("%s/checkpoint.done is no regular file", where);
        return false;
    }
    if (r == 0)
        r = file_read(directory, "checkpoint.done", DONE_MAXIMUM, &done, NULL);
    if (r < 0) {
        *ret_reason = text_format(
            "%s has no complete snapshot: its checkpoint.done %s%s", where,
            r == -ENOENT ? "is missing" : "can't be read: ", r == -ENOENT ? "" : strerror(-r));
        return false;
    }
    if (!decision_done_is_success(done)) {
        *ret_reason = what_is_wrong(where, done);
        return false;
    }
    if (!has_version(directory)) {
        *ret_reason = text_format("%s has no complete snapshot of Stasis in versions/", where);
        return false;
    }
    *ret_reason = text_format("there is a snapshot in %s", where);
    return true;
}

bool snapshot_is_there(const struct snapshot_place *place, char **ret_reason)
{
    CLEANUP(free_ptr) char *where = text_format("%s/%s", place->root, place->id);
    CLEANUP(close_fd) int directory = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0 && errno == EACCES) {
        *ret_reason = text_format("there may be a snapshot in %s: this user can't look", where);
        return true; /* the agent can, and says so when there is none */
    }
    if (directory < 0) {
        *ret_reason = text_format("there is no %s: %s", where, strerror(errno));
        return false;
    }
    return look(directory, where, ret_reason);
}

bool decision_make(const struct settings *settings, char **ret_reason)
{
    struct snapshot_place place = {0};
    bool there;

    if (settings->wait_for_checkpoint) {
        *ret_reason = text_copy("WAIT_FOR_CHECKPOINT is set");
        return true;
    }
    if (settings->signal_file) {
        *ret_reason = text_copy("this is a checkpoint job: DYN_CHECKPOINT_SIGNAL_FILE is set");
        return false;
    }
    if (snapshot_place_named(settings, &place, ret_reason) < 0)
        return false;
    there = snapshot_is_there(&place, ret_reason);
    snapshot_place_done(&place);
    return there;
}
