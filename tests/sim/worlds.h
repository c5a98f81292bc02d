/* SPDX-License-Identifier: Apache-2.0 */
/* The main function of a simulation: FIRST SEEDS, as many worlds from that seed on. */
#pragma once

#include <stdint.h>

int worlds_main(int count, char **arguments, void (*run)(uint64_t seed));
