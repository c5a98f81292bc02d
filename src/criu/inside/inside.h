/* SPDX-License-Identifier: Apache-2.0 */
/* What criu-inside.so (preloaded into CRIU) is told, and says. */
#pragma once

/* The descriptor of the mount namespace to enter before main(). */
#define INSIDE_VARIABLE "STASIS_MOUNT_NAMESPACE_FD"

/* The same for a user namespace, afterwards; in it CRIU becomes its root. May be absent. */
#define INSIDE_USERS_VARIABLE "STASIS_USER_NAMESPACE_FD"

/* CRIU's exit status when that failed. */
enum { INSIDE_FAILED = 126 };
