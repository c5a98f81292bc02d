/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/installation.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"

struct place {
    const char *part;
    const char *in_build_tree; /* full path of what the build made */
};

static const struct place places[] = {
    {PART_ROOT_PROCESS, STASIS_BUILD_DIRECTORY "/src/workload/stasis-root"},
    {PART_PLUGINS, STASIS_BUILD_DIRECTORY "/src/criu/plugin"},
    {PART_CRIU_INSIDE, STASIS_BUILD_DIRECTORY "/src/criu/inside/criu-inside.so"},
    {PART_NSRESTORE, STASIS_BUILD_DIRECTORY "/src/nsrestore/nsrestore"},
    {PART_FETCH_CRIU, STASIS_SOURCE_DIRECTORY "/tools/fetch-criu"},
};

static bool runs_from_build_tree(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    if (n <= 0)
        return false;
    path[n] = 0;
    return text_starts_with(path, STASIS_BUILD_DIRECTORY "/");
}

static const char *build_tree_path(const char *part)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (text_equal(places[i].part, part))
            return places[i].in_build_tree;
    }
    return NULL;
}

int installation_find(const char *part, char **ret_path, struct error *error)
{
    const char *chosen = getenv("STASIS_LIBEXEC");
    const char *plugins = text_equal(part, PART_PLUGINS) ? getenv("STASIS_PLUGINS") : NULL;
    CLEANUP(free_ptr) char *path = NULL;

    if (plugins && *plugins)
        path = text_copy(plugins);
    else if (chosen && *chosen)
        path = text_format("%s/%s", chosen, part);
    else if (runs_from_build_tree() && build_tree_path(part))
        path = text_copy(build_tree_path(part));
    else
        path = text_format("%s/%s", STASIS_LIBEXEC_DIRECTORY, part);
    if (access(path, F_OK) < 0)
        return error_set(error, "installation-broken", errno, "A part of Stasis is not there: %s",
                         path);
    *ret_path = STEAL_PTR(path);
    return 0;
}

const char *installation_run_directory(void)
{
    const char *chosen = getenv("STASIS_RUN");

    return chosen && *chosen ? chosen : "/run/stasis";
}
