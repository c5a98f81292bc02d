/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a process: /proc/<pid>/maps and smaps_rollup (proc_pid_maps(5)). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

enum mapping_kind {
    MAPPING_ANONYMOUS, /* private memory; also one that was given a name */
    MAPPING_HEAP,
    MAPPING_STACK,
    MAPPING_SHARED_ANONYMOUS,
    MAPPING_FILE,
    MAPPING_DELETED_FILE,
    MAPPING_MEMFD,
    MAPPING_SYSV,    /* System V shared memory; `inode` is its id */
    MAPPING_DEVICE,  /* below /dev, not shared memory and not /dev/zero */
    MAPPING_HUGETLB, /* anonymous memory of the huge page pool */
    MAPPING_AIO,
    MAPPING_SOCKET,     /* packet ring */
    MAPPING_ANON_INODE, /* io_uring, perf event, …: `name` says which */
    MAPPING_KERNEL,     /* vdso, vvar, vsyscall, uprobes */
    MAPPING_KINDS
};

struct mapping {
    uint64_t start, end;
    bool readable, writable, executable, shared;
    uint64_t offset;
    dev_t device;
    uint64_t inode;
    enum mapping_kind kind;
    const char *name; /* path or "[…]"; "" when there is none; owned by the table */
};

struct mapping_table {
    struct mapping *mappings; /* ascending */
    size_t count;
    char *text; /* owns the names */
};

#define MAPPING_TABLE_INIT ((struct mapping_table){0})

struct memory_totals { /* bytes */
    uint64_t resident;
    uint64_t proportional; /* shared pages divided by how many share them */
    uint64_t proportional_anonymous, proportional_file, proportional_shared;
    uint64_t anonymous;
    uint64_t swapped;
    uint64_t locked;
    uint64_t huge; /* anonymous, in transparent huge pages */
    uint64_t hugetlb;
};

const char *mapping_kind_name(enum mapping_kind kind);

int mapping_table_read(pid_t pid, struct mapping_table *ret, struct error *error);
int mapping_table_read_at(int directory, struct mapping_table *ret, struct error *error);
void mapping_table_done(struct mapping_table *table);

/* Of a mapping of kind MAPPING_DEVICE or MAPPING_FILE: the device number of a mapped device
 * (by /proc/<pid>/map_files; needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE), 0 when it is none. */
dev_t mapping_device_number(int directory, const struct mapping *mapping);

int memory_totals_read(pid_t pid, struct memory_totals *ret, struct error *error);
int memory_totals_read_at(int directory, struct memory_totals *ret, struct error *error);

/* The parsers. mapping_table_parse takes over `text` (malloc) on success. */
int mapping_table_parse(char *text, struct mapping_table *ret);
void memory_totals_parse(char *text, struct memory_totals *ret);
