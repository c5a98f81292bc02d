/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault points: named places where tests make a step fail, stop or die, in the very program that
 * ships to users' machines, so that "the source never gets hurt" is walked step by step.
 * STASIS_FAULT="name" fails there, "name:kill" kills this process (SIGKILL) there, "name:hang"
 * waits for ever. Compiled out with -Dfault_injection=false.
 */
#pragma once

#include "basic/error.h"

/* 0, or the code "injected" when this point was asked to fail. */
int fault_point(const char *name, struct error *error);

/* All names, NULL-terminated, in the order in which a capture and then a restore pass them. */
const char *const *fault_names(void);
