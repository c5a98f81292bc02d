/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target is one file with this function. Linked with replay.c it runs over its corpus as a
 * test; compiled with clang, it also becomes <target>-libfuzzer, which looks for new inputs
 * (configure with -Dc_args=-fsanitize=fuzzer-no-link, so that it sees what they reach).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
