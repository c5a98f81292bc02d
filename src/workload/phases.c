/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/phases.h"

#include "basic/clock.h"

void phases_begin(struct phases *phases, struct reporter *reporter)
{
    *phases =
        (struct phases){.reporter = reporter, .list = json_array(), .begun = clock_now_usec()};
}

void phases_next(struct phases *phases, const char *name)
{
    phases_end(phases);
    phases->name = name;
    phases->phase_begun = clock_now_usec();
    reporter_phase_begin(phases->reporter, name);
}

void phases_end(struct phases *phases)
{
    double seconds = clock_seconds_since(phases->phase_begun);

    if (!phases->name)
        return;
    (void)json_array_append_new(phases->list,
                                json_pack("{ss sf}", "name", phases->name, "seconds", seconds));
    phases->name = NULL;
    reporter_phase_end(phases->reporter, seconds);
}

double phases_seconds(const struct phases *phases)
{
    return clock_seconds_since(phases->begun);
}

void phases_done(struct phases *phases)
{
    json_decref(phases->list);
    *phases = (struct phases){0};
}
