/* SPDX-License-Identifier: Apache-2.0 */
/* What a reflector remembers of objects: that they are there, and in which version. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kube/hash.h"

/* A resource version: a number where it is one, as with every known server, so that versions can be
 * ordered; otherwise a hash, which can only be compared. 0: none. */
typedef uint64_t mark_version;

mark_version mark_version_of(const char *text);

/* Whether `a` is known to be no newer than `b`. */
bool mark_version_is_old(mark_version a, mark_version b);

struct mark {
    struct hash_node node;
    struct mark *next, *previous;
    mark_version version;
    uint32_t generation; /* of the list that has it */
    uint16_t name_at, uid_at;
    char text[]; /* namespace, name, uid */
};

struct marks {
    struct hash_table table;
    struct mark *first, *last; /* in the order in which they came */
};

struct mark *marks_find(const struct marks *marks, const char *namespace, const char *name);

/* NULL when the names are longer than any that a server accepts. */
struct mark *marks_add(struct marks *marks, const char *namespace, const char *name,
                       const char *uid);

void marks_remove(struct marks *marks, struct mark *mark); /* and frees it */
void marks_done(struct marks *marks);

static inline const char *mark_namespace(const struct mark *mark)
{
    return mark->text;
}

static inline const char *mark_name(const struct mark *mark)
{
    return mark->text + mark->name_at;
}

static inline const char *mark_uid(const struct mark *mark)
{
    return mark->text + mark->uid_at;
}
