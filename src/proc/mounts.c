/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/mounts.h"

#include <errno.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/parse.h"
#include "proc/process.h"

#define MOUNTINFO_MAX ((size_t)64 << 20)

void mount_table_done(struct mount_table *table)
{
    free(table->mounts);
    free(table->text);
    *table = MOUNT_TABLE_INIT;
}

static void parse_tag(const char *tag, struct mount *mount)
{
    if (text_starts_with(tag, "shared:"))
        (void)parse_pid(tag + 7, &mount->shared);
    else if (text_starts_with(tag, "master:"))
        (void)parse_pid(tag + 7, &mount->master);
    else if (text_starts_with(tag, "propagate_from:"))
        (void)parse_pid(tag + 15, &mount->propagate_from);
    else if (text_equal(tag, "unbindable"))
        mount->unbindable = true;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" */
static int parse_mount(char *line, struct mount *mount)
{
    char *id = parse_field(&line), *parent = parse_field(&line), *device = parse_field(&line);
    const char *tag;

    if (parse_pid(id, &mount->id) < 0 || parse_pid(parent, &mount->parent) < 0 ||
        parse_device(device, 10, &mount->device) < 0)
        return -EINVAL;
    mount->root = parse_field(&line);
    mount->point = parse_field(&line);
    mount->options = parse_field(&line);
    while ((tag = parse_field(&line)) && !text_equal(tag, "-"))
        parse_tag(tag, mount);
    if (!tag)
        return -EINVAL;
    mount->type = parse_field(&line);
    if (!mount->type)
        return -EINVAL;
    /* An empty source prints as nothing at all: then only one field follows. */
    mount->source = parse_field(&line);
    mount->super_options = parse_field(&line);
    if (!mount->source)
        return -EINVAL;
    if (!mount->super_options) {
        mount->super_options = mount->source;
        mount->source = line;
    }
    parse_unescape(mount->root);
    parse_unescape(mount->point);
    parse_unescape(mount->type);
    parse_unescape(mount->source);
    return 0;
}

static size_t count_lines(const char *text)
{
    size_t lines = 1;

    for (; (text = strchr(text, '\n')); text++)
        lines++;
    return lines;
}

int mount_table_parse(char *text, struct mount_table *ret)
{
    CLEANUP(free_ptr) struct mount *mounts = calloc(count_lines(text), sizeof *mounts);
    char *cursor = text, *line;
    size_t count = 0;

    if (!mounts)
        return -ENOMEM;
    while ((line = parse_line(&cursor))) {
        int r = parse_mount(line, &mounts[count++]);

        if (r < 0)
            return r;
    }
    *ret = (struct mount_table){.mounts = STEAL_PTR(mounts), .count = count, .text = text};
    return 0;
}

int mount_table_read_at(int directory, struct mount_table *ret, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    int r = file_read(directory, "mountinfo", MOUNTINFO_MAX, &text, NULL);

    if (r == 0)
        r = mount_table_parse(text, ret);
    if (r < 0)
        return process_error(error, r, 0, "mountinfo");
    text = NULL;
    return 0;
}

int mount_table_read(pid_t pid, struct mount_table *ret, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    int r = process_open(pid, &directory, error);

    if (r == 0)
        r = mount_table_read_at(directory, ret, error);
    return r < 0 ? error_wrap(error, r, "process %d", (int)pid) : 0;
}

const struct mount *mount_table_find(const struct mount_table *table, int id)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->mounts[i].id == id)
            return &table->mounts[i];
    }
    return NULL;
}

static bool lies_below(const char *path, const char *point)
{
    size_t length = strlen(point);

    if (text_equal(point, "/"))
        return *path == '/';
    return strncmp(path, point, length) == 0 && (path[length] == 0 || path[length] == '/');
}

const struct mount *mount_table_holder(const struct mount_table *table, const char *path)
{
    const struct mount *best = NULL;

    for (size_t i = 0; i < table->count; i++) {
        const struct mount *mount = &table->mounts[i];

        if (lies_below(path, mount->point) &&
            (!best || strlen(mount->point) >= strlen(best->point)))
            best = mount;
    }
    return best;
}

uint64_t mount_attributes(const char *options)
{
    static const struct {
        const char *name;
        uint64_t attribute;
    } known[] = {{"ro", MOUNT_ATTR_RDONLY},
                 {"nosuid", MOUNT_ATTR_NOSUID},
                 {"nodev", MOUNT_ATTR_NODEV},
                 {"noexec", MOUNT_ATTR_NOEXEC}};
    CLEANUP(free_ptr) char *words = text_copy(options ? options : "");
    uint64_t attributes = 0;
    char *rest = NULL;

    for (char *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (text_equal(word, known[i].name))
                attributes |= known[i].attribute;
        }
    }
    return attributes;
}
