/* SPDX-License-Identifier: Apache-2.0 */
/* The phases of a story (capture, restore): reported while they happen, remembered for the
 * manifest and the answer. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "basic/error.h"
#include "basic/reporter.h"

struct phases {
    struct reporter *reporter;
    json_t *list; /* [{"name", "seconds"}] in the order of their ends */
    uint64_t begun, phase_begun;
    const char *name;
};

void phases_begin(struct phases *phases, struct reporter *reporter);

/* Ends the phase that runs and starts the next. `name` is a constant. */
void phases_next(struct phases *phases, const char *name);

/* Ends the phase that runs. */
void phases_end(struct phases *phases);

double phases_seconds(const struct phases *phases);

void phases_done(struct phases *phases);
