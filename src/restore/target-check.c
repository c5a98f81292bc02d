/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a snapshot fits into a container. Each difference is told before anything is touched. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/parse.h"
#include "restore/target.h"

static const struct mount *find_point(const struct container_view *target, const char *point)
{
    for (size_t i = 0; i < target->mounts.count; i++) {
        if (text_equal(target->mounts.mounts[i].point, point))
            return &target->mounts.mounts[i];
    }
    return NULL;
}

static const char *member(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* A volume in which processes have files open must be there; others may be missed later. */
static int check_mounts(const struct restore *restore, struct error *error)
{
    const json_t *mounts = json_object_get(restore->plan.container, "mounts");
    struct buffer missing = BUFFER_INIT(65536);
    int r = 0;

    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *entry = json_array_get(mounts, i);
        const char *point = member(entry, "point");

        if (!text_equal(member(entry, "role"), "volume") || find_point(&restore->target, point))
            continue;
        if (json_is_true(json_object_get(entry, "used"))) {
            (void)buffer_printf(&missing, "%s%s", missing.length ? ", " : "", point);
        } else {
            CLEANUP(free_ptr)
            char *note =
                text_format("The target has no mount on %s, which the snapshot had", point);

            reporter_note(restore->request->reporter, note);
        }
    }
    if (missing.length)
        r = error_set(error, "mount-missing", ENOENT, "The target has no mount on %s",
                      missing.data);
    buffer_done(&missing);
    return r;
}

/* Of a pseudoterminal or a console; /dev/null is a character device, too. Numbers are those of
 * Documentation/admin-guide/devices.txt. */
static bool is_terminal(const struct stat *st)
{
    unsigned number = major(st->st_rdev);

    return S_ISCHR(st->st_mode) && ((number >= 136 && number <= 143) || number == 4 || number == 5);
}

static int check_stdio(const struct restore *restore, struct error *error)
{
    struct stat st;

    for (size_t i = 0; i < restore->plan.stand_in_count; i++) {
        const struct stand_in *stand_in = &restore->plan.stand_ins[i];
        CLEANUP(free_ptr) char *path = text_format("fd/%d", stand_in->stdio);

        if (!stand_in->terminal)
            continue;
        if (stand_in->stdio < 0 || fstatat(restore->target.process, path, &st, 0) < 0 ||
            !is_terminal(&st))
            return error_set(error, "target-terminal", ENOTTY,
                             "The snapshot's processes had a terminal, the target has none");
    }
    return 0;
}

/* CRIU can give what it has itself. One that lacks it would not come to an end. */
static int check_own_capabilities(const json_t *had, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    char *cursor, *line;
    uint64_t own = 0, wanted = strtoull(member(had, "capabilities"), NULL, 16);

    if (file_read(AT_FDCWD, "/proc/self/status", 1 << 20, &text, NULL) < 0)
        return 0;
    cursor = text;
    while ((line = parse_line(&cursor))) {
        const char *value = parse_value(line, "CapEff");

        own |= value ? strtoull(value, NULL, 16) : 0;
    }
    if (!(wanted & ~own))
        return 0;
    return error_set(error, "own-privileges", EPERM,
                     "The snapshot's processes have capabilities (%" PRIx64
                     ") that this program lacks",
                     wanted & ~own);
}

/* A restore must not give processes what whoever made the target did not want in it. */
static int check_privileges(const struct restore *restore, struct error *error)
{
    const json_t *had = json_object_get(restore->plan.container, "privileges");
    const struct container_privileges *target = &restore->target.privileges;
    uint64_t more = strtoull(member(had, "capabilities"), NULL, 16) & ~target->capabilities;

    if (!json_is_object(had))
        return error_set(error, "snapshot-manifest", EINVAL, "The manifest has no privileges");
    if (more)
        return error_set(error, "target-privileges", EPERM,
                         "The snapshot's processes have capabilities (%" PRIx64
                         ") that the target must not have",
                         more);
    if (target->no_new && !json_is_true(json_object_get(had, "no_new_privileges")))
        return error_set(error, "target-privileges", EPERM,
                         "The target must not gain privileges, the snapshot's processes could");
    if (target->filtered && !json_is_true(json_object_get(had, "seccomp")))
        return error_set(error, "target-privileges", EPERM,
                         "The target has a seccomp filter, the snapshot's processes have none");
    return 0;
}

int target_check(const struct restore *restore, struct error *error)
{
    int r = check_privileges(restore, error);

    if (r == 0)
        r = check_own_capabilities(json_object_get(restore->plan.container, "privileges"), error);
    if (r == 0)
        r = check_mounts(restore, error);
    return r < 0 ? r : check_stdio(restore, error);
}
