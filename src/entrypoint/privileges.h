/* SPDX-License-Identifier: Apache-2.0 */
/* What a restore in the container itself needs of the kernel (docs/privileges.md). */
#pragma once

/* Names of the capabilities that are missing in the text of proc_pid_status(5), with spaces between
 * them; "" when all are there. The caller frees it. */
char *privileges_missing(const char *status);
