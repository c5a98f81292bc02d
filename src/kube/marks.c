/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/marks.h"

#include <stdlib.h>
#include <string.h>

#include "basic/text.h"

#define OPAQUE ((mark_version)1 << 63)

enum { TEXTS_MAXIMUM = 2048 };

struct key {
    const char *namespace, *name;
};

mark_version mark_version_of(const char *text)
{
    uint64_t number;

    if (!*text)
        return 0;
    if (text_to_uint64(text, &number) == 0 && number < OPAQUE)
        return number;
    return hash_text(text) | OPAQUE;
}

bool mark_version_is_old(mark_version a, mark_version b)
{
    return a > 0 && !(a & OPAQUE) && !(b & OPAQUE) && a <= b;
}

static uint64_t hash_key(const char *namespace, const char *name)
{
    return hash_text(namespace) * 3 + hash_text(name);
}

static bool is_key(const struct hash_node *node, const void *context)
{
    const struct mark *mark = (const struct mark *)node;
    const struct key *key = context;

    return text_equal(mark_name(mark), key->name) &&
           text_equal(mark_namespace(mark), key->namespace);
}

struct mark *marks_find(const struct marks *marks, const char *namespace, const char *name)
{
    const struct key key = {namespace, name};

    return (struct mark *)hash_find(&marks->table, hash_key(namespace, name), is_key, &key);
}

struct mark *marks_add(struct marks *marks, const char *namespace, const char *name,
                       const char *uid)
{
    size_t namespace_size = strlen(namespace) + 1, name_size = strlen(name) + 1;
    size_t uid_size = strlen(uid) + 1, size = namespace_size + name_size + uid_size;
    struct mark *mark;

    if (size > TEXTS_MAXIMUM)
        return NULL;
    mark = allocate(sizeof *mark + size);
    mark->name_at = (uint16_t)namespace_size;
    mark->uid_at = (uint16_t)(namespace_size + name_size);
    memcpy(mark->text, namespace, namespace_size);
    memcpy(mark->text + mark->name_at, name, name_size);
    memcpy(mark->text + mark->uid_at, uid, uid_size);
    mark->previous = marks->last;
    *(marks->last ? &marks->last->next : &marks->first) = mark;
    marks->last = mark;
    hash_insert(&marks->table, &mark->node, hash_key(namespace, name));
    return mark;
}

void marks_remove(struct marks *marks, struct mark *mark)
{
    hash_remove(&marks->table, &mark->node);
    *(mark->next ? &mark->next->previous : &marks->last) = mark->previous;
    *(mark->previous ? &mark->previous->next : &marks->first) = mark->next;
    free(mark);
}

void marks_done(struct marks *marks)
{
    while (marks->first)
        marks_remove(marks, marks->first);
    hash_done(&marks->table);
}
