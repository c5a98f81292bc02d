/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/preflight/inspection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"

static void inspected_done(struct inspected *inspected)
{
    close_fd(&inspected->directory);
    descriptor_table_done(&inspected->descriptors);
    mapping_table_done(&inspected->mappings);
}

void inspection_done(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->count; i++)
        inspected_done(&inspection->processes[i]);
    free(inspection->processes);
    for (size_t i = 0; i < inspection->mounts_count; i++)
        mount_table_done(&inspection->mounts[i].table);
    free(inspection->mounts);
    socket_table_done(&inspection->sockets);
    free(inspection->socket_inodes);
    process_tree_done(&inspection->tree);
    preflight_report_done(&inspection->report);
    *inspection = (struct inspection){0};
}

char *process_text(pid_t pid)
{
    struct process process = PROCESS_INIT;
    char *text;

    if (process_read(pid, &process, NULL) < 0)
        return text_format("%d", (int)pid);
    text = text_format("%d (%s)", (int)pid, process.comm);
    process_done(&process);
    return text;
}

bool inspection_has_cuda(const struct inspection *inspection, pid_t pid)
{
    for (size_t i = 0; i < inspection->request->cuda_count; i++) {
        if (inspection->request->cuda_pids[i] == pid)
            return true;
    }
    return false;
}

static int read_process(const struct process *process, struct inspected *ret, struct error *error)
{
    struct inspected inspected = {.process = process, .directory = -1};
    int r = process_open(process->pid, &inspected.directory, error);

    if (r == 0)
        r = namespaces_read_at(inspected.directory, &inspected.namespaces, error);
    if (r == 0)
        r = descriptor_table_read_at(inspected.directory, &inspected.descriptors, error);
    if (r == 0 && !process->kernel_thread)
        r = mapping_table_read_at(inspected.directory, &inspected.mappings, error);
    if (r < 0) {
        inspected_done(&inspected);
        return r;
    }
    *ret = inspected;
    return 0;
}

/* One that has ended meanwhile is left out; one that can't be read is a finding. */
static int read_processes(struct inspection *inspection, struct error *error)
{
    inspection->processes = allocate(inspection->tree.count * sizeof *inspection->processes);
    for (size_t i = 0; i < inspection->tree.count; i++) {
        const struct process *process = &inspection->tree.processes[i];
        struct error own = ERROR_INIT;
        int r;

        if (process->state == 'Z' || process->state == 'X')
            continue;
        r = read_process(process, &inspection->processes[inspection->count], &own);
        if (r == 0) {
            inspection->count++;
            continue;
        }
        if (i == 0) {
            error_move(error, &own);
            return error_wrap(error, r, "process %d", (int)process->pid);
        }
        if (r != -ESRCH)
            finding_add(inspection, "process-unreadable", PREFLIGHT_REFUSE, process, NULL, "%s",
                        own.message);
        error_done(&own);
    }
    return 0;
}

static int read_mounts(struct inspection *inspection)
{
    inspection->mounts = allocate(inspection->count * sizeof *inspection->mounts);
    for (size_t i = 0; i < inspection->count; i++) {
        struct inspected *inspected = &inspection->processes[i];
        struct inspected_mounts *next = &inspection->mounts[inspection->mounts_count];

        if (inspection_mounts(inspection, inspected))
            continue;
        if (mount_table_read_at(inspected->directory, &next->table, NULL) < 0)
            continue;
        next->inode = inspected->namespaces.inode[NAMESPACE_MOUNT];
        inspection->mounts_count++;
    }
    return 0;
}

const struct mount_table *inspection_mounts(const struct inspection *inspection,
                                            const struct inspected *inspected)
{
    for (size_t i = 0; i < inspection->mounts_count; i++) {
        if (inspection->mounts[i].inode == inspected->namespaces.inode[NAMESPACE_MOUNT])
            return &inspection->mounts[i].table;
    }
    return NULL;
}

static int compare_inodes(const void *a, const void *b)
{
    const struct inspected_inode *left = a, *right = b;

    if (left->inode != right->inode)
        return left->inode > right->inode ? 1 : -1;
    if (left->process != right->process)
        return left->process > right->process ? 1 : -1;
    return (left->descriptor > right->descriptor) - (left->descriptor < right->descriptor);
}

static size_t count_sockets(const struct inspection *inspection)
{
    size_t count = 0;

    for (size_t i = 0; i < inspection->count; i++) {
        const struct descriptor_table *table = &inspection->processes[i].descriptors;

        for (size_t j = 0; j < table->count; j++)
            count += table->descriptors[j].kind == DESCRIPTOR_SOCKET;
    }
    return count;
}

static void collect_sockets(struct inspection *inspection)
{
    struct inspected_inode *inodes = allocate(count_sockets(inspection) * sizeof *inodes);
    size_t count = 0, kept = 0;

    for (size_t i = 0; i < inspection->count; i++) {
        const struct descriptor_table *table = &inspection->processes[i].descriptors;

        for (size_t j = 0; j < table->count; j++) {
            if (table->descriptors[j].kind == DESCRIPTOR_SOCKET)
                inodes[count++] = (struct inspected_inode){
                    .inode = table->descriptors[j].inode, .process = i, .descriptor = j};
        }
    }
    qsort(inodes, count, sizeof *inodes, compare_inodes);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || inodes[kept - 1].inode != inodes[i].inode)
            inodes[kept++] = inodes[i];
    }
    inspection->socket_inodes = inodes;
    inspection->socket_count = kept;
}

const struct inspected_inode *inspection_socket(const struct inspection *inspection, uint64_t inode)
{
    size_t low = 0, high = inspection->socket_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (inspection->socket_inodes[middle].inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == inspection->socket_count || inspection->socket_inodes[low].inode != inode)
        return NULL;
    return &inspection->socket_inodes[low];
}

static int read_namespaces_of_criu(struct inspection *inspection, struct error *error)
{
    const struct namespaces *root = &inspection->processes[0].namespaces;
    int r = namespaces_read(getpid(), &inspection->criu, error);

    if (r < 0)
        return r;
    for (int kind = 0; kind < NAMESPACE_KINDS; kind++) {
        if (inspection->request->entered & (1U << kind))
            inspection->criu.inode[kind] = root->inode[kind];
    }
    inspection->own_kinds = namespaces_difference(root, &inspection->criu);
    return 0;
}

int inspection_read(const struct preflight_request *request, struct inspection *ret,
                    struct error *error)
{
    int r;

    *ret = (struct inspection){.request = request};
    r = process_tree_read(request->root, &ret->tree, error);
    if (r == 0)
        r = read_processes(ret, error);
    if (r == 0)
        r = read_namespaces_of_criu(ret, error);
    if (r == 0)
        r = read_mounts(ret);
    if (r < 0)
        return r;
    collect_sockets(ret);
    return ret->socket_count ? socket_table_read(request->root, &ret->sockets, error) : 0;
}
