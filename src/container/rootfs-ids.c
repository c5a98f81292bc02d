/* SPDX-License-Identifier: Apache-2.0 */
#include "container/rootfs-ids.h"

#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

#include "basic/text.h"

typedef bool (*translate_id)(const struct id_map *map, uint32_t id, uint32_t *ret);

static bool translate(uint32_t id, uint32_t from, uint32_t to, uint32_t length, uint32_t *ret)
{
    if (id < from || id - from >= length)
        return false;
    *ret = to + (id - from);
    return true;
}

bool id_to_inside(const struct id_map *map, uint32_t outside, uint32_t *ret)
{
    if (map->count == 0)
        *ret = outside;
    for (size_t i = 0; i < map->count; i++) {
        const struct id_range *range = &map->ranges[i];

        if (translate(outside, range->outside, range->inside, range->length, ret))
            return true;
    }
    return map->count == 0;
}

bool id_to_outside(const struct id_map *map, uint32_t inside, uint32_t *ret)
{
    if (map->count == 0)
        *ret = inside;
    for (size_t i = 0; i < map->count; i++) {
        const struct id_range *range = &map->ranges[i];

        if (translate(inside, range->inside, range->outside, range->length, ret))
            return true;
    }
    return map->count == 0;
}

static bool is_acl(const char *name)
{
    return text_equal(name, "system.posix_acl_access") ||
           text_equal(name, "system.posix_acl_default");
}

/* Labels and seals of a security module belong to the machine and its policy; a container runtime
 * labels the target's files as they are made. */
bool attribute_is_kept(const char *name)
{
    if (text_starts_with(name, "security."))
        return !text_equal(name, "security.selinux") && !text_equal(name, "security.evm") &&
               !text_equal(name, "security.apparmor") && !text_starts_with(name, "security.SMACK");
    return text_starts_with(name, "user.") || text_starts_with(name, "trusted.") || is_acl(name);
}

static int translate_acl(const struct rootfs_ids *ids, translate_id function, char *value,
                         size_t length)
{
    struct posix_acl_xattr_entry entry;
    size_t at = sizeof(struct posix_acl_xattr_header);

    if (length < at || (length - at) % sizeof entry != 0)
        return -EINVAL;
    for (; at < length; at += sizeof entry) {
        uint16_t tag;
        uint32_t id;

        memcpy(&entry, value + at, sizeof entry);
        tag = le16toh(entry.e_tag);
        if (tag != ACL_USER && tag != ACL_GROUP)
            continue;
        if (!function(tag == ACL_USER ? &ids->users : &ids->groups, le32toh(entry.e_id), &id))
            return -EOVERFLOW;
        entry.e_id = htole32(id);
        memcpy(value + at, &entry, sizeof entry);
    }
    return 0;
}

static uint32_t read_magic(const void *value)
{
    uint32_t magic;

    memcpy(&magic, value, sizeof magic);
    return le32toh(magic);
}

/* Capabilities count in the user namespace whose root has that id; the form without an id is for
 * the id 0. */
static int read_capability_root(const char *value, size_t length, uint32_t *ret)
{
    uint32_t id = 0;

    if (length < sizeof(uint32_t))
        return -EINVAL;
    switch (read_magic(value) & VFS_CAP_REVISION_MASK) {
    case VFS_CAP_REVISION_2:
        if (length != XATTR_CAPS_SZ_2)
            return -EINVAL;
        break;
    case VFS_CAP_REVISION_3:
        if (length != XATTR_CAPS_SZ_3)
            return -EINVAL;
        memcpy(&id, value + XATTR_CAPS_SZ_2, sizeof id);
        break;
    default:
        return -EINVAL;
    }
    *ret = le32toh(id);
    return 0;
}

static int translate_capability(const struct rootfs_ids *ids, translate_id function, char *value,
                                size_t *length)
{
    uint32_t id, root, magic;
    int r = read_capability_root(value, *length, &root);

    if (r < 0)
        return r;
    if (!function(&ids->users, root, &id))
        return 1;
    magic = read_magic(value) & ~(uint32_t)VFS_CAP_REVISION_MASK;
    magic = htole32(magic | (id == 0 ? VFS_CAP_REVISION_2 : VFS_CAP_REVISION_3));
    memcpy(value, &magic, sizeof magic);
    id = htole32(id);
    memcpy(value + XATTR_CAPS_SZ_2, &id, sizeof id);
    *length = id == 0 ? XATTR_CAPS_SZ_2 : XATTR_CAPS_SZ_3;
    return 0;
}

static int translate_attribute(const struct rootfs_ids *ids, translate_id function,
                               const char *name, void *value, size_t *length)
{
    if (is_acl(name))
        return translate_acl(ids, function, value, *length);
    if (text_equal(name, "security.capability"))
        return translate_capability(ids, function, value, length);
    return 0;
}

int attribute_to_inside(const struct rootfs_ids *ids, const char *name, void *value, size_t *length)
{
    return translate_attribute(ids, id_to_inside, name, value, length);
}

int attribute_to_outside(const struct rootfs_ids *ids, const char *name, void *value,
                         size_t *length)
{
    return translate_attribute(ids, id_to_outside, name, value, length);
}
