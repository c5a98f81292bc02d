/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/hash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "basic/text.h"

uint64_t hash_bytes(const void *data, size_t length)
{
    static uint64_t seed;

    if (seed == 0 && getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed = 1;
    return XXH3_64bits_withSeed(data, length, seed);
}

uint64_t hash_text(const char *text)
{
    return hash_bytes(text, strlen(text));
}

struct hash_node *hash_find(const struct hash_table *table, uint64_t hash,
                            hash_equal_function *equal, const void *key)
{
    struct hash_node *node;

    if (table->slot_count == 0)
        return NULL;
    node = table->slots[hash & (table->slot_count - 1)];
    while (node && (node->hash != hash || !equal(node, key)))
        node = node->next;
    return node;
}

static void put(struct hash_table *table, struct hash_node *node)
{
    struct hash_node **slot = &table->slots[node->hash & (table->slot_count - 1)];

    node->next = *slot;
    *slot = node;
}

static void grow(struct hash_table *table)
{
    struct hash_table larger = {.slot_count = table->slot_count ? table->slot_count * 2 : 16,
                                .count = table->count};

    larger.slots = allocate(larger.slot_count * sizeof *larger.slots);
    for (size_t i = 0; i < table->slot_count; i++) {
        for (struct hash_node *node = table->slots[i], *next; node; node = next) {
            next = node->next;
            put(&larger, node);
        }
    }
    free(table->slots);
    *table = larger;
}

void hash_insert(struct hash_table *table, struct hash_node *node, uint64_t hash)
{
    if (table->count >= table->slot_count)
        grow(table);
    node->hash = hash;
    put(table, node);
    table->count++;
}

void hash_remove(struct hash_table *table, struct hash_node *node)
{
    struct hash_node **at = &table->slots[node->hash & (table->slot_count - 1)];

    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    table->count--;
}

void hash_each(struct hash_table *table, void (*function)(struct hash_node *, void *),
               void *context)
{
    for (size_t i = 0; i < table->slot_count; i++) {
        for (struct hash_node *node = table->slots[i], *next; node; node = next) {
            next = node->next;
            function(node, context);
        }
    }
}

void hash_done(struct hash_table *table)
{
    free(table->slots);
    *table = (struct hash_table){0};
}
