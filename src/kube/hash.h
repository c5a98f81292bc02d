/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of things that have a node at their beginning; it owns nothing but its slots. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash_table {
    struct hash_node **slots;
    size_t slot_count, count;
};

/* Seeded at random once a process: names of objects are chosen by others. */
uint64_t hash_text(const char *text);
uint64_t hash_bytes(const void *data, size_t length);

typedef bool hash_equal_function(const struct hash_node *node, const void *key);

struct hash_node *hash_find(const struct hash_table *table, uint64_t hash,
                            hash_equal_function *equal, const void *key);
void hash_insert(struct hash_table *table, struct hash_node *node, uint64_t hash);
void hash_remove(struct hash_table *table, struct hash_node *node);

/* The function may free the node, after removing it or when the table is given up; it must not
 * insert. */
void hash_each(struct hash_table *table, void (*function)(struct hash_node *, void *),
               void *context);
void hash_done(struct hash_table *table);
