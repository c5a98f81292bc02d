/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/clock.h"

#include <time.h>

#include "basic/text.h"

uint64_t clock_now_usec(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

double clock_seconds_since(uint64_t start_usec)
{
    return (double)(clock_now_usec() - start_usec) / 1e6;
}

char *clock_date(void)
{
    time_t now = time(NULL);
    struct tm utc;
    char date[32] = "";

    if (gmtime_r(&now, &utc))
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return text_copy(date);
}

void clock_sleep_msec(unsigned msec)
{
    struct timespec wait = {.tv_sec = msec / 1000, .tv_nsec = (long)(msec % 1000) * 1000000};

    while (nanosleep(&wait, &wait) < 0) {
        /* Interrupted: `wait` holds what is left. */
    }
}
