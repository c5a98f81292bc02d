/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "copy/file.h"
#include "image/names.h"

const char *snapshot_root(const char *option)
{
    const char *variable = getenv("STASIS_ROOT");

    if (option && *option)
        return option;
    return variable && *variable ? variable : SNAPSHOT_ROOT_DEFAULT;
}

static bool is_alphanumeric(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

int snapshot_id_check(const char *id, struct error *error)
{
    size_t length = strlen(id), good = 0;

    while (id[good] && (is_alphanumeric(id[good]) || (good > 0 && strchr("._-", id[good]))))
        good++;
    if (length == 0)
        return error_set(error, "snapshot-id", EINVAL, "The id of a snapshot is empty");
    if (length > SNAPSHOT_ID_MAXIMUM)
        return error_set(error, "snapshot-id", EINVAL, "The id of a snapshot has %zu characters",
                         length);
    if (good < length)
        return error_set(error, "snapshot-id", EINVAL,
                         "'%s' can't be the id of a snapshot (character %zu)", id, good + 1);
    return 0;
}

int snapshot_version_parse(const char *text, uint64_t *ret_version)
{
    uint64_t version = 0;

    if (text[0] < '1' || text[0] > '9' || text_to_uint64(text, &version) < 0 || version > INT64_MAX)
        return -EINVAL;
    *ret_version = version;
    return 0;
}

int snapshot_reference_parse(const char *reference, char **ret_id, char **ret_version,
                             struct error *error)
{
    const char *at = strchr(reference, '@');
    CLEANUP(free_ptr)
    char *id = at ? strndup(reference, (size_t)(at - reference)) : text_copy(reference);
    uint64_t version;
    int r;

    if (!id)
        return error_set(error, "out-of-memory", ENOMEM, "The name of the snapshot is too long");
    r = snapshot_id_check(id, error);
    if (r < 0)
        return r;
    if (at && snapshot_version_parse(at + 1, &version) < 0)
        return error_set(error, "snapshot-id", EINVAL,
                         "'%s' can't be the version of a snapshot: it is a number from 1 on",
                         at + 1);
    *ret_version = at ? text_copy(at + 1) : NULL;
    *ret_id = STEAL_PTR(id);
    return 0;
}

const char *snapshot_write_code(int number)
{
    return copy_write_code(number, "snapshot-write");
}

static int missing(const char *root, const char *id, int number, struct error *error)
{
    if (number == -ENOENT)
        return error_set(error, "snapshot-missing", number, "There is no snapshot '%s' in '%s'", id,
                         root);
    return error_set(error, "snapshot-read", number, "Can't open the snapshots '%s' in '%s'", id,
                     root);
}

int snapshot_versions_open(const char *root, const char *id, struct error *error)
{
    CLEANUP(close_fd) int directory = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(free_ptr) char *path = text_format("%s/versions", id);
    int fd;

    if (directory < 0)
        return missing(root, id, -errno, error);
    fd = file_open_beneath(directory, path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? missing(root, id, fd, error) : fd;
}

int snapshot_versions_latest(int versions, uint64_t *ret_version)
{
    CLEANUP(names_done) struct names names = NAMES_INIT;
    uint64_t latest = 0, version;
    int r = names_read(versions, &names);

    if (r < 0)
        return r;
    for (size_t i = 0; i < names.count; i++) {
        if (snapshot_version_parse(names.names[i], &version) == 0 && version > latest)
            latest = version;
    }
    *ret_version = latest;
    return 0;
}

bool snapshot_lock(int fd, int operation)
{
    int r;

    do
        r = flock(fd, operation);
    while (r < 0 && errno == EINTR);
    return r == 0;
}
