/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor of an agent in a simulation: operations take a while of the loop's time, the journal
 * outlives the agent that began them, and what an operation does is up to the world.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/order.h"
#include "loop/loop.h"

struct fake_executor;

struct fake_executor_options {
    struct loop *loop;
    uint64_t seed;
    unsigned lose;      /* in a thousand: operations that end without a result */
    uint64_t most_usec; /* that an operation takes */

    void (*began)(const struct order *order, void *context);

    /* At its end: a new reference to its result. */
    json_t *(*carry_out)(const struct order *order, bool cancelled, void *context);

    /* The end, whoever is there to hear of it; also of an operation that was lost. */
    void (*ended)(const struct order *order, const json_t *result, void *context);
    void *context;
};

struct fake_executor *fake_executor_new(const struct fake_executor_options *options);
void fake_executor_free(struct fake_executor *executor);

/* An agent comes, and hears of the journal; the descriptor is its end of the channel. The one
 * before has to be gone. */
int fake_executor_connect(struct fake_executor *executor);
void fake_executor_disconnect(struct fake_executor *executor);

/* From now on nothing is lost. */
void fake_executor_calm(struct fake_executor *executor);

/* The orders in the journal, in no order; NULL: there are no more. */
const struct order *fake_executor_order(const struct fake_executor *executor, size_t place);
