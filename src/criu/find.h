/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CRIU to use. Numbers don't tell whether a CRIU works on a kernel, so each candidate has to
 * pass a trial: it saves a small process that listens on a TCP socket. A passed trial is
 * remembered until the machine is restarted or the file changes.
 */
#pragma once

#include <stdbool.h>

#include "basic/error.h"

struct criu_installation {
    char *path;
    unsigned version; /* major * 10000 + minor * 100 + patch */
    bool private_copy;
};

/*
 * The first that passes: $STASIS_CRIU (then no other is tried), `criu` in PATH, the private copy
 * that `snapshotctl setup` makes. Errors: "criu-missing", "criu-unusable" (which says why each
 * candidate failed).
 */
int criu_find(struct criu_installation *ret_installation, struct error *error);

void criu_installation_done(struct criu_installation *installation);
