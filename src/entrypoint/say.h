/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for the container's log. */
#pragma once

/* On standard error, with this program's name before it. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
