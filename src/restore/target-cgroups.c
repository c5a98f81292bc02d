/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups: what is restored is accounted and limited as the target is (cgroups(7)). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "restore/target.h"

/* Whether the comma-separated `words` contain all of the comma-separated `wanted`. */
static bool has_words(const char *words, const char *wanted)
{
    CLEANUP(free_ptr) char *all = text_format(",%s,", words);
    CLEANUP(free_ptr) char *each = text_copy(wanted);
    char *rest = NULL;

    for (char *word = strtok_r(each, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        CLEANUP(free_ptr) char *enclosed = text_format(",%s,", word);

        if (!strstr(all, enclosed))
            return false;
    }
    return true;
}

static const struct mount *find_hierarchy(const struct mount_table *mounts, const char *controllers)
{
    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *mount = &mounts->mounts[i];

        if (*controllers
                ? text_equal(mount->type, "cgroup") && has_words(mount->super_options, controllers)
                : text_equal(mount->type, "cgroup2"))
            return mount;
    }
    return NULL;
}

/* A mount may show a part of the hierarchy only. */
static char *directory_of(const struct mount *mount, const char *group)
{
    size_t length = text_equal(mount->root, "/") ? 0 : strlen(mount->root);

    if (length &&
        (!text_starts_with(group, mount->root) || (group[length] != '/' && group[length] != 0)))
        length = 0; /* the path is relative to our own root of the hierarchy already */
    return text_format("%s%s/cgroup.procs", mount->point, group + length);
}

/* One line of /proc/<pid>/cgroup: "4:memory:/path"; hierarchies that are mounted nowhere here
 * can't be joined, and their limits are none. */
static int open_line(char *line, const struct mount_table *mounts, int *ret_fd, struct error *error)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    const struct mount *mount;
    CLEANUP(free_ptr) char *path = NULL;

    *ret_fd = -1;
    if (!group)
        return 0;
    *group++ = 0;
    mount = find_hierarchy(mounts, controllers + 1);
    if (!mount)
        return 0;
    path = directory_of(mount, group);
    *ret_fd = open(path, O_WRONLY | O_CLOEXEC);
    return *ret_fd >= 0 ? 0 : error_set(error, "cgroup-join", errno, "Can't open %s", path);
}

/* A restore that works in the target itself is in its control groups already. */
static bool are_ours(const char *text)
{
    CLEANUP(free_ptr) char *ours = NULL;

    return file_read(AT_FDCWD, "/proc/self/cgroup", 1 << 20, &ours, NULL) == 0 &&
           text_equal(ours, text);
}

int target_open_cgroups(const struct container_view *target, int *ret_fds, size_t maximum,
                        size_t *ret_count, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct mount_table mounts = MOUNT_TABLE_INIT;
    char *rest = NULL;
    int r = file_read(target->process, "cgroup", 1 << 20, &text, NULL);

    if (r < 0)
        return error_set(error, "target-gone", r, "Can't read the target's control groups");
    if (are_ours(text))
        return 0;
    r = mount_table_read(getpid(), &mounts, error);
    for (char *line = r == 0 ? strtok_r(text, "\n", &rest) : NULL; r == 0 && line;
         line = strtok_r(NULL, "\n", &rest)) {
        int fd = -1;

        r = *ret_count < maximum ? open_line(line, &mounts, &fd, error) : 0;
        if (fd >= 0)
            ret_fds[(*ret_count)++] = fd;
    }
    mount_table_done(&mounts);
    return r;
}
