/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/mapped.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"

bool process_maps_libcuda(pid_t pid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/maps", (int)pid);
    CLEANUP(close_file) FILE *maps = fopen(path, "re");
    CLEANUP(free_ptr) char *line = NULL;
    size_t size = 0;

    while (maps && getline(&line, &size, maps) >= 0) {
        const char *name = strrchr(line, '/');

        if (name && strncmp(name, "/libcuda.so", strlen("/libcuda.so")) == 0)
            return true;
    }
    return false;
}
