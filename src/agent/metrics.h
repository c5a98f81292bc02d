/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent counts, in the text form of Prometheus (prometheus.io, "Exposition formats"). */
#pragma once

#include <jansson.h>

#include "agent/protocol.h"

struct metrics;
struct reconciler_numbers;

struct metrics *metrics_new(const char *node);
void metrics_free(struct metrics *metrics);

/* A result of an operation (agent/operation.h). */
void metrics_count_result(struct metrics *metrics, enum wish_kind kind, const json_t *result);

/* Trouble with the API server. */
void metrics_count_trouble(struct metrics *metrics);

/* The page; the caller frees it. */
char *metrics_text(const struct metrics *metrics, const struct reconciler_numbers *numbers,
                   int synced);
