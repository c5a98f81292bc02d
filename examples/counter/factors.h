/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table that takes a while to compute and that every answer needs: the smallest prime factor of
 * each odd number. It stands for the weights of a model.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Entry i is the smallest prime factor of 2 i + 3. NULL when there is no memory. */
uint32_t *factors_compute(size_t entries);

void factors_free(uint32_t *table, size_t entries);

/* The smallest prime factor of `number` >= 2, or 0 when the table does not reach that far. */
uint32_t factors_smallest(const uint32_t *table, size_t entries, uint64_t number);

/* A hash of all entries: the same before and after, or memory was damaged. */
uint64_t factors_hash(const uint32_t *table, size_t entries);

/* "[3, 5]" for 15. */
void factors_print(const uint32_t *table, size_t entries, uint64_t number, char *text, size_t size);
