/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in driver, for unit tests: which library to load and what the machine looks like. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "basic/text.h"

/* "libcuda.so.1" or another library of the stand-in, loaded as the driver's. */
static inline void fake_library(const char *variable, const char *name)
{
    const char *directory = getenv("FAKE_CUDA");
    char *path = text_format("%s/%s", directory ? directory : ".", name);

    (void)setenv(variable, path, 1);
    free(path);
}

/* Replaces the configuration. */
static inline void fake_machine(const char *text)
{
    static char path[64];
    FILE *file;

    if (!path[0])
        (void)snprintf(path, sizeof path, "/tmp/fake-machine.%d", (int)getpid());
    (void)setenv("FAKE_CUDA_CONFIG", path, 1);
    file = fopen(path, "we");
    if (file) {
        (void)fputs(text, file);
        (void)fclose(file);
    }
}

static inline int fake_machine_remove(void **state)
{
    const char *path = getenv("FAKE_CUDA_CONFIG");

    (void)state;
    return path ? remove(path) : 0;
}
