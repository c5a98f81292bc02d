/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this machine able to take and restore snapshots? Tries things where trying is harmless, and
 * leaves nothing behind. Codes are rows of basic/catalogue-machine.def and of CRIU's catalogue.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "basic/reporter.h"
#include "doctor/finding.h"

struct machine_request {
    const char *root;   /* where snapshots go; need not exist */
    bool measure_speed; /* write and read 256 MiB there */
    struct reporter *reporter;
};

struct machine_speed { /* bytes a second; 0: not measured */
    double write;
    double read;
};

void machine_examine(const struct machine_request *request, struct findings *findings,
                     struct machine_speed *ret_speed);

/* The parts, in their order; each adds its findings. */
void examine_kernel(struct findings *findings, bool privileged);
void examine_rights(struct findings *findings);
void examine_criu(struct findings *findings);
void examine_memory(struct findings *findings);
void examine_storage(const char *root, struct findings *findings);
void examine_speed(const char *root, struct findings *findings, struct machine_speed *ret_speed);
void examine_gpus(struct findings *findings);
