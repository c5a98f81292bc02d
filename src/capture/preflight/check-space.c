/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the bytes will fit, and what is known about the GPUs. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"
#include "proc/parse.h"

void check_gpus(struct inspection *inspection)
{
    if (inspection->request->mig)
        finding_add(inspection, "gpu-mig-in-use", PREFLIGHT_REFUSE, NULL, NULL,
                    "the tree uses a part of a GPU that is divided (MIG)");
    if (inspection->request->mps)
        finding_add(inspection, "gpu-mps-in-use", PREFLIGHT_REFUSE, NULL, NULL,
                    "the tree uses its GPU through an MPS server");
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

/* What will be written: memory that is in no file, each shared page once. */
static uint64_t memory_of_tree(const struct inspection *inspection)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < inspection->count; i++) {
        const struct inspected *inspected = &inspection->processes[i];
        struct memory_totals totals;

        if (inspected->process->kernel_thread ||
            memory_totals_read_at(inspected->directory, &totals, NULL) < 0)
            continue;
        bytes = add(bytes, totals.proportional_anonymous);
        bytes = add(bytes, totals.proportional_shared);
        bytes = add(bytes, totals.swapped);
        bytes = add(bytes, totals.hugetlb);
    }
    return bytes;
}

/* The store need not be there yet: its first parent that is counts. */
static bool free_bytes(const char *store, uint64_t *ret_bytes)
{
    CLEANUP(free_ptr) char *path = text_copy(store);
    struct statvfs fs;

    while (statvfs(path, &fs) < 0) {
        char *slash = strrchr(path, '/');

        if (!slash || path[1] == 0)
            return false;
        slash[slash == path ? 1 : 0] = 0;
    }
    *ret_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return true;
}

static uint64_t available_memory(void)
{
    CLEANUP(free_ptr) char *text = NULL;
    char *cursor, *line;

    if (file_read(AT_FDCWD, "/proc/meminfo", 1 << 20, &text, NULL) < 0)
        return UINT64_MAX;
    cursor = text;
    while ((line = parse_line(&cursor))) {
        const char *value = parse_value(line, "MemAvailable");

        if (value)
            return parse_leading_number(value) * 1024;
    }
    return UINT64_MAX;
}

static void check_store(struct inspection *inspection)
{
    uint64_t needed = add(memory_of_tree(inspection), inspection->request->device_memory);
    CLEANUP(free_ptr) char *needed_text = text_bytes(needed);
    CLEANUP(free_ptr) char *free_text = NULL;
    uint64_t available = 0;

    if (!inspection->request->store || !free_bytes(inspection->request->store, &available))
        return;
    free_text = text_bytes(available);
    if (needed > available)
        finding_add(inspection, "store-space", PREFLIGHT_WARN, NULL, NULL,
                    "up to %s will be written to %s, which has %s free", needed_text,
                    inspection->request->store, free_text);
}

static void check_staging(struct inspection *inspection)
{
    uint64_t available = available_memory();
    CLEANUP(free_ptr) char *needed_text = text_bytes(inspection->request->device_memory);
    CLEANUP(free_ptr) char *available_text = text_bytes(available);

    if (inspection->request->device_memory_staged && inspection->request->device_memory > available)
        finding_add(inspection, "host-memory", PREFLIGHT_WARN, NULL, NULL,
                    "%s of device memory pass through host memory, of which %s are available",
                    needed_text, available_text);
}

void check_space(struct inspection *inspection)
{
    check_store(inspection);
    check_staging(inspection);
}
