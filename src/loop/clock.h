/* SPDX-License-Identifier: Apache-2.0 */
/* The clock of the machine. */
#pragma once

#include "loop/loop.h"

extern const struct loop_clock loop_real_clock;
