/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts that a process sees: /proc/<pid>/mountinfo (proc_pid_mountinfo(5)). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

struct mount {
    int id, parent;
    dev_t device;
    char *root;  /* what of the file system is mounted; all strings unescaped */
    char *point; /* where, as seen from the root directory of the process */
    char *options;
    int shared, master, propagate_from; /* peer groups; 0: none */
    bool unbindable;
    char *type;
    char *source;
    char *super_options;
};

struct mount_table {
    struct mount *mounts; /* in the kernel's order */
    size_t count;
    char *text; /* owns all strings */
};

#define MOUNT_TABLE_INIT ((struct mount_table){0})

int mount_table_read(pid_t pid, struct mount_table *ret, struct error *error);
int mount_table_read_at(int directory, struct mount_table *ret, struct error *error);
void mount_table_done(struct mount_table *table);

const struct mount *mount_table_find(const struct mount_table *table, int id);

/* The mount that holds `path` (absolute, normal form): the last one mounted at its longest prefix.
 */
const struct mount *mount_table_holder(const struct mount_table *table, const char *path);

/* Takes over `text` (malloc) on success. 0, -EINVAL or -ENOMEM. */
int mount_table_parse(char *text, struct mount_table *ret);

/* The MOUNT_ATTR_* (mount_setattr(2)) that mount options ("ro,nosuid,relatime") stand for; of those
 * that protect something. */
uint64_t mount_attributes(const char *options);
