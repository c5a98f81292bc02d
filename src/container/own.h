/* SPDX-License-Identifier: Apache-2.0 */
/* The container that this program itself runs in, for a restore into it from within. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "basic/error.h"

/* Its first process. */
enum { OWN_CONTAINER_FIRST = 1 };

/* This program leaves the container's mount namespace for one of its own, in which mounts of the
 * container still arrive; `scratch`, a directory that is made where it is missing, is an empty file
 * system in memory there. So nothing of what is only of use for the restore gets into the
 * container's files. "target-unfit": it runs in no container, or its first process can't be seen;
 * "own-privileges": it may not. */
int own_container_prepare(const char *scratch, struct error *error);

/* Whether `pid` is the first process of the container that own_container_prepare has prepared. */
bool own_container_is_first(pid_t pid);
