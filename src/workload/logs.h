/* SPDX-License-Identifier: Apache-2.0 */
/* Where CRIU's logs go while it works: <root>/.logs/<label>. They are kept when something failed;
 * the newest ones only. */
#pragma once

#include "basic/error.h"

/* An empty directory for `label`; the caller frees the path and closes the descriptor. `root` may
 * be a place of everybody, such as /tmp: a `.logs` there that belongs to others is refused. */
int logs_open(const char *root, const char *label, char **ret_path, int *ret_fd,
              struct error *error);

/* Nothing failed: removes the directory, and the one that it is in when that is empty then. */
void logs_remove(const char *path);
