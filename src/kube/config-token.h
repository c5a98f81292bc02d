/* SPDX-License-Identifier: Apache-2.0 */
/* Bearer tokens. */
#pragma once

#include <stdbool.h>

/* NULL when the file can't be read or holds no token. The caller frees it. */
char *kube_token_read(const char *path);

/* Not empty, and nothing in it that could end a line of a header. */
bool kube_token_is_sound(const char *token);
