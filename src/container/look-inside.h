/* SPDX-License-Identifier: Apache-2.0 */
/* Questions that only a process within a container's namespaces can answer: a child goes there, and
 * nobody else. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "basic/error.h"

/* `process`: a descriptor of /proc/<pid>. Whether its IPC namespace holds System V objects. */
int container_look_for_system_v(int process, bool *ret_found, struct error *error);

/* Addresses of the interfaces in its network namespace, without loopback: ["10.0.0.2"]. */
int container_look_for_addresses(int process, json_t **ret_list, struct error *error);

/* The host name in its UTS namespace; the caller frees it. */
int container_look_for_host_name(int process, char **ret_name, struct error *error);
