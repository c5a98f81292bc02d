/* SPDX-License-Identifier: Apache-2.0 */
#include "factors.h"

#include <stdio.h>
#include <sys/mman.h>

uint32_t *factors_compute(size_t entries)
{
    uint32_t *table = mmap(NULL, entries * sizeof *table, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (table == MAP_FAILED)
        return NULL;
    for (size_t i = 0; i < entries; i++) {
        uint64_t prime = 2 * i + 3;

        if (table[i] != 0)
            continue;
        table[i] = (uint32_t)prime;
        for (uint64_t k = (prime * prime - 3) / 2; k < entries; k += prime) {
            if (table[k] == 0)
                table[k] = (uint32_t)prime;
        }
    }
    return table;
}

void factors_free(uint32_t *table, size_t entries)
{
    if (table)
        (void)munmap(table, entries * sizeof *table);
}

uint32_t factors_smallest(const uint32_t *table, size_t entries, uint64_t number)
{
    if (number % 2 == 0)
        return 2;
    return (number - 3) / 2 < entries ? table[(number - 3) / 2] : 0;
}

uint64_t factors_hash(const uint32_t *table, size_t entries)
{
    uint64_t hash = 14695981039346656037U;

    for (size_t i = 0; i < entries; i++)
        hash = (hash ^ table[i]) * 1099511628211U;
    return hash;
}

void factors_print(const uint32_t *table, size_t entries, uint64_t number, char *text, size_t size)
{
    size_t length = 0;
    uint32_t factor;

    while (number > 1 && length < size &&
           (factor = factors_smallest(table, entries, number)) != 0) {
        length +=
            (size_t)snprintf(text + length, size - length, "%s%u", length ? ", " : "[", factor);
        number /= factor;
    }
    if (length < size)
        (void)snprintf(text + length, size - length, "%s]", length ? "" : "[");
}
