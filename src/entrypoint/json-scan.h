/* SPDX-License-Identifier: Apache-2.0 */
/* As much of JSON as the entrypoint has to understand: members by their name, at any depth. */
#pragma once

/* Where the value of the first member `name` begins; NULL: there is none, or it is cut off. */
const char *json_scan_member(const char *text, const char *name);

/* The same when it is a string without escapes, copied; NULL otherwise. The caller frees it. */
char *json_scan_string(const char *text, const char *name);
