/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes and terminals that lead out of the tree: a restore connects them to something else. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"
#include "proc/parse.h"

#define TERMINALS_MAX 65536

struct pipe_use {
    uint64_t inode;
    size_t process, descriptor;
    bool reads, writes;
};

static int compare_pipes(const void *a, const void *b)
{
    const struct pipe_use *left = a, *right = b;

    return (left->inode > right->inode) - (left->inode < right->inode);
}

static size_t count_kind(const struct inspection *inspection, enum descriptor_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < inspection->count; i++) {
        for (size_t j = 0; j < inspection->processes[i].descriptors.count; j++)
            count += inspection->processes[i].descriptors.descriptors[j].kind == kind;
    }
    return count;
}

/* Every pipe of the tree once, with the ends that the tree has. The caller frees it. */
static struct pipe_use *collect_pipes(const struct inspection *inspection, size_t *ret_count)
{
    struct pipe_use *pipes = allocate(count_kind(inspection, DESCRIPTOR_PIPE) * sizeof *pipes);
    size_t count = 0, kept = 0;

    for (size_t i = 0; i < inspection->count; i++) {
        const struct descriptor_table *table = &inspection->processes[i].descriptors;

        for (size_t j = 0; j < table->count; j++) {
            unsigned mode = table->descriptors[j].flags & O_ACCMODE;

            if (table->descriptors[j].kind == DESCRIPTOR_PIPE)
                pipes[count++] = (struct pipe_use){.inode = table->descriptors[j].inode,
                                                   .process = i,
                                                   .descriptor = j,
                                                   .reads = mode != O_WRONLY,
                                                   .writes = mode != O_RDONLY};
        }
    }
    qsort(pipes, count, sizeof *pipes, compare_pipes);
    for (size_t i = 0; i < count; i++) {
        if (kept && pipes[kept - 1].inode == pipes[i].inode) {
            pipes[kept - 1].reads |= pipes[i].reads;
            pipes[kept - 1].writes |= pipes[i].writes;
        } else {
            pipes[kept++] = pipes[i];
        }
    }
    *ret_count = kept;
    return pipes;
}

static void check_pipes(struct inspection *inspection)
{
    size_t count, open = 0;
    CLEANUP(free_ptr) struct pipe_use *pipes = collect_pipes(inspection, &count);
    CLEANUP(free_ptr) uint64_t *inodes = allocate(count * sizeof *inodes);
    CLEANUP(free_ptr) pid_t *owners = allocate(count * sizeof *owners);

    for (size_t i = 0; i < count; i++) {
        if (pipes[i].reads && pipes[i].writes)
            continue;
        pipes[open] = pipes[i];
        inodes[open++] = pipes[i].inode;
    }
    descriptor_owners_find("pipe", inodes, open, &inspection->tree, owners);
    for (size_t i = 0; i < open; i++) {
        const struct inspected *inspected = &inspection->processes[pipes[i].process];
        CLEANUP(free_ptr) char *owner = owners[i] ? process_text(owners[i]) : NULL;

        if (owner)
            finding_add(inspection, "pipe-outside", PREFLIGHT_NOTE, inspected->process, NULL,
                        "descriptor %d %s a pipe of process %s, outside of the tree",
                        inspected->descriptors.descriptors[pipes[i].descriptor].fd,
                        pipes[i].writes ? "writes to" : "reads from", owner);
    }
}

/* The number of a pseudo terminal; -1: it is none. */
static long terminal_number(dev_t device)
{
    if (major(device) < 136 || major(device) > 143)
        return -1;
    return ((long)major(device) - 136) * 256 + (long)minor(device);
}

/* A master tells the number of its terminal in fdinfo ("tty-index"). -1: it is none. */
static long master_number(const struct inspected *inspected, int fd)
{
    CLEANUP(free_ptr) char *info = NULL;
    char path[32], *cursor, *line;

    (void)snprintf(path, sizeof path, "fdinfo/%d", fd);
    if (file_read(inspected->directory, path, 1 << 20, &info, NULL) < 0)
        return -1;
    cursor = info;
    while ((line = parse_line(&cursor))) {
        const char *value = parse_value(line, "tty-index");

        if (value)
            return (long)(parse_leading_number(value) % TERMINALS_MAX);
    }
    return -1;
}

static void check_terminals(struct inspection *inspection)
{
    CLEANUP(free_ptr) bool *told = allocate(TERMINALS_MAX * sizeof *told);

    for (int pass = 0; pass < 2; pass++) { /* masters first */
        for (size_t i = 0; i < inspection->count; i++) {
            const struct inspected *inspected = &inspection->processes[i];

            for (size_t j = 0; j < inspected->descriptors.count; j++) {
                const struct descriptor *descriptor = &inspected->descriptors.descriptors[j];
                long number;

                if (descriptor->kind != DESCRIPTOR_TERMINAL)
                    continue;
                number = pass == 0 ? master_number(inspected, descriptor->fd)
                                   : terminal_number(descriptor->device_number);
                if (number < 0 || number >= TERMINALS_MAX || told[number])
                    continue;
                told[number] = true;
                if (pass == 1)
                    finding_add(inspection, "terminal-outside", PREFLIGHT_NOTE, inspected->process,
                                NULL,
                                "descriptor %d is the terminal %s, which somebody outside "
                                "of the tree controls",
                                descriptor->fd, descriptor->target);
            }
        }
    }
}

void check_outside(struct inspection *inspection)
{
    check_pipes(inspection);
    check_terminals(inspection);
}
