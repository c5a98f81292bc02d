/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "basic/clock.h"
#include "loop/clock.h"

static uint64_t real_now(void *context)
{
    (void)context;
    return clock_now_usec();
}

static int64_t real_date(void *context)
{
    struct timespec now = {0};

    (void)context;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

const struct loop_clock loop_real_clock = {.now = real_now, .date = real_date};

static uint64_t virtual_now(void *context)
{
    const struct virtual_clock *clock = context;

    return clock->now_usec;
}

static int64_t virtual_date(void *context)
{
    const struct virtual_clock *clock = context;

    return clock->date_usec + (int64_t)clock->now_usec;
}

static void virtual_jump(uint64_t to_usec, void *context)
{
    struct virtual_clock *clock = context;

    if (to_usec > clock->now_usec)
        clock->now_usec = to_usec;
}

struct loop_clock virtual_clock_of(struct virtual_clock *clock)
{
    return (struct loop_clock){
        .now = virtual_now, .date = virtual_date, .jump = virtual_jump, .context = clock};
}
