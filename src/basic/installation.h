/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of Stasis that are files: where they are installed, or lie in a build tree. */
#pragma once

#include "basic/error.h"

#define PART_ROOT_PROCESS "stasis-root"
#define PART_PLUGINS "criu-plugins" /* a directory that holds stasis_plugin.so and nothing else */
#define PART_CRIU_INSIDE "criu-inside.so"
#define PART_NSRESTORE "nsrestore"
#define PART_FETCH_CRIU "fetch-criu"

/* In $STASIS_LIBEXEC (the plugins in $STASIS_PLUGINS, if that is set), beside the build tree when
 * this program runs from it, or where it was installed. The caller frees the path.
 * "installation-broken" when it is nowhere. */
int installation_find(const char *part, char **ret_path, struct error *error);

/* Where what is worth knowing until the machine restarts is kept: $STASIS_RUN, else /run/stasis. */
const char *installation_run_directory(void);
