/* SPDX-License-Identifier: Apache-2.0 */
/* Owners as a container sees them and as this process does, also inside of extended attributes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "container/rootfs.h"

enum { ATTRIBUTE_MAXIMUM = 64 << 10 }; /* XATTR_SIZE_MAX, XATTR_LIST_MAX */

bool id_to_inside(const struct id_map *map, uint32_t outside, uint32_t *ret);
bool id_to_outside(const struct id_map *map, uint32_t inside, uint32_t *ret);

/* Which extended attributes belong to a file rather than to the machine it is on. */
bool attribute_is_kept(const char *name);

/*
 * Translates the ids inside of a value (POSIX ACLs, file capabilities), in place; there must be
 * room for 4 bytes more. Returns 0; 1 when the attribute has no effect in the container and is to
 * be left out; -EOVERFLOW when an id is not mapped; -EINVAL when the value is not what it should
 * be.
 */
int attribute_to_inside(const struct rootfs_ids *ids, const char *name, void *value,
                        size_t *length);
int attribute_to_outside(const struct rootfs_ids *ids, const char *name, void *value,
                         size_t *length);
