/* SPDX-License-Identifier: Apache-2.0 */
/* Time: durations come from the monotonic clock, dates from the real-time one. */
#pragma once

#include <stdint.h>

/* Microseconds of CLOCK_MONOTONIC. */
uint64_t clock_now_usec(void);

double clock_seconds_since(uint64_t start_usec);

/* "2026-11-21T10:11:12Z", now, in UTC. The caller frees it. */
char *clock_date(void);

void clock_sleep_msec(unsigned msec);
