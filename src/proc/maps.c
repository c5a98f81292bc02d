/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/maps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/parse.h"
#include "proc/process.h"

#define ROLLUP_MAX ((size_t)64 << 10)
#define DELETED " (deleted)"

static const char *const kind_names[MAPPING_KINDS] = {
    [MAPPING_ANONYMOUS] = "anonymous memory",
    [MAPPING_HEAP] = "heap",
    [MAPPING_STACK] = "stack",
    [MAPPING_SHARED_ANONYMOUS] = "shared anonymous memory",
    [MAPPING_FILE] = "file",
    [MAPPING_DELETED_FILE] = "deleted file",
    [MAPPING_MEMFD] = "memfd",
    [MAPPING_SYSV] = "System V shared memory",
    [MAPPING_DEVICE] = "device",
    [MAPPING_HUGETLB] = "huge page memory",
    [MAPPING_AIO] = "AIO ring",
    [MAPPING_SOCKET] = "socket ring",
    [MAPPING_ANON_INODE] = "kernel object",
    [MAPPING_KERNEL] = "kernel page",
};

const char *mapping_kind_name(enum mapping_kind kind)
{
    return kind < MAPPING_KINDS ? kind_names[kind] : "unknown";
}

static enum mapping_kind bracket_kind(const char *name)
{
    if (text_equal(name, "[heap]"))
        return MAPPING_HEAP;
    if (text_starts_with(name, "[stack"))
        return MAPPING_STACK;
    if (text_starts_with(name, "[anon_shmem:"))
        return MAPPING_SHARED_ANONYMOUS;
    if (text_starts_with(name, "[anon:"))
        return MAPPING_ANONYMOUS;
    return MAPPING_KERNEL;
}

static bool is_device_path(const char *name)
{
    return text_starts_with(name, "/dev/") && !text_starts_with(name, "/dev/shm/") &&
           !text_starts_with(name, "/dev/hugepages/") && !text_starts_with(name, "/dev/mqueue/");
}

static enum mapping_kind path_kind(const char *name)
{
    if (text_equal(name, "/dev/zero" DELETED))
        return MAPPING_SHARED_ANONYMOUS;
    if (text_starts_with(name, "/memfd:"))
        return MAPPING_MEMFD;
    if (text_starts_with(name, "/SYSV"))
        return MAPPING_SYSV;
    if (text_equal(name, "/anon_hugepage" DELETED))
        return MAPPING_HUGETLB;
    if (text_starts_with(name, "/[aio]"))
        return MAPPING_AIO;
    if (is_device_path(name))
        return MAPPING_DEVICE;
    return text_ends_with(name, DELETED) ? MAPPING_DELETED_FILE : MAPPING_FILE;
}

static enum mapping_kind kind_of(const struct mapping *mapping)
{
    const char *name = mapping->name;

    if (*name == '[')
        return bracket_kind(name);
    if (*name == '/')
        return path_kind(name);
    if (text_starts_with(name, "anon_inode:"))
        return MAPPING_ANON_INODE;
    if (text_starts_with(name, "socket:["))
        return MAPPING_SOCKET;
    if (*name == 0 && mapping->inode == 0)
        return mapping->shared ? MAPPING_SHARED_ANONYMOUS : MAPPING_ANONYMOUS;
    return MAPPING_FILE;
}

static int parse_range(char *range, struct mapping *mapping)
{
    char *dash = range ? strchr(range, '-') : NULL;

    if (!dash)
        return -EINVAL;
    *dash = 0;
    if (parse_number(range, 16, &mapping->start) < 0 ||
        parse_number(dash + 1, 16, &mapping->end) < 0 || mapping->start >= mapping->end)
        return -EINVAL;
    return 0;
}

/* "7f2c4d000000-7f2c4d021000 rw-p 00000000 00:00 0          [heap]" */
static int parse_mapping(char *line, struct mapping *mapping)
{
    char *range = parse_field(&line), *rights = parse_field(&line), *offset = parse_field(&line);
    char *device = parse_field(&line), *inode = parse_field(&line), *name;

    if (parse_range(range, mapping) < 0 || !rights || strlen(rights) != 4 ||
        parse_number(offset, 16, &mapping->offset) < 0 ||
        parse_device(device, 16, &mapping->device) < 0 ||
        parse_number(inode, 10, &mapping->inode) < 0)
        return -EINVAL;
    mapping->readable = rights[0] == 'r';
    mapping->writable = rights[1] == 'w';
    mapping->executable = rights[2] == 'x';
    mapping->shared = rights[3] == 's';
    name = line + strspn(line, " ");
    parse_unescape(name);
    mapping->name = name;
    mapping->kind = kind_of(mapping);
    return 0;
}

static size_t count_lines(const char *text)
{
    size_t lines = 1;

    for (; (text = strchr(text, '\n')); text++)
        lines++;
    return lines;
}

int mapping_table_parse(char *text, struct mapping_table *ret)
{
    CLEANUP(free_ptr) struct mapping *mappings = calloc(count_lines(text), sizeof *mappings);
    char *cursor = text, *line;
    size_t count = 0;

    if (!mappings)
        return -ENOMEM;
    while ((line = parse_line(&cursor))) {
        int r = parse_mapping(line, &mappings[count++]);

        if (r < 0)
            return r;
    }
    *ret = (struct mapping_table){.mappings = STEAL_PTR(mappings), .count = count, .text = text};
    return 0;
}

void mapping_table_done(struct mapping_table *table)
{
    free(table->mappings);
    free(table->text);
    *table = MAPPING_TABLE_INIT;
}

int mapping_table_read_at(int directory, struct mapping_table *ret, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    int r = file_read(directory, "maps", PROC_TEXT_MAX, &text, NULL);

    if (r == 0)
        r = mapping_table_parse(text, ret);
    if (r < 0)
        return process_error(error, r, 0, "its memory map");
    text = NULL;
    return 0;
}

int mapping_table_read(pid_t pid, struct mapping_table *ret, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    int r = process_open(pid, &directory, error);

    if (r == 0)
        r = mapping_table_read_at(directory, ret, error);
    return r < 0 ? error_wrap(error, r, "process %d", (int)pid) : 0;
}

dev_t mapping_device_number(int directory, const struct mapping *mapping)
{
    char path[64];
    struct stat st;

    (void)snprintf(path, sizeof path, "map_files/%" PRIx64 "-%" PRIx64, mapping->start,
                   mapping->end);
    if (fstatat(directory, path, &st, 0) < 0 || !S_ISCHR(st.st_mode))
        return 0;
    return st.st_rdev;
}

static const struct {
    const char *key;
    size_t offset;
} totals[] = {
    {"Rss", offsetof(struct memory_totals, resident)},
    {"Pss", offsetof(struct memory_totals, proportional)},
    {"Pss_Anon", offsetof(struct memory_totals, proportional_anonymous)},
    {"Pss_File", offsetof(struct memory_totals, proportional_file)},
    {"Pss_Shmem", offsetof(struct memory_totals, proportional_shared)},
    {"Anonymous", offsetof(struct memory_totals, anonymous)},
    {"Swap", offsetof(struct memory_totals, swapped)},
    {"Locked", offsetof(struct memory_totals, locked)},
    {"AnonHugePages", offsetof(struct memory_totals, huge)},
    {"Private_Hugetlb", offsetof(struct memory_totals, hugetlb)},
};

static void set_total(const char *line, struct memory_totals *ret)
{
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        const char *value = parse_value(line, totals[i].key);
        uint64_t bytes;

        if (!value)
            continue;
        if (__builtin_mul_overflow(parse_leading_number(value), (uint64_t)1024, &bytes))
            bytes = UINT64_MAX;
        memcpy((char *)ret + totals[i].offset, &bytes, sizeof bytes);
    }
}

void memory_totals_parse(char *text, struct memory_totals *ret)
{
    char *line;

    *ret = (struct memory_totals){0};
    while ((line = parse_line(&text)))
        set_total(line, ret);
}

int memory_totals_read_at(int directory, struct memory_totals *ret, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    int r = file_read(directory, "smaps_rollup", ROLLUP_MAX, &text, NULL);

    if (r < 0)
        return process_error(error, r, 0, "its memory totals");
    memory_totals_parse(text, ret);
    return 0;
}

int memory_totals_read(pid_t pid, struct memory_totals *ret, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    int r = process_open(pid, &directory, error);

    if (r == 0)
        r = memory_totals_read_at(directory, ret, error);
    return r < 0 ? error_wrap(error, r, "process %d", (int)pid) : 0;
}
