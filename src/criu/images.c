/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/images.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "criu-images.pb-c.h"

enum { IMAGE_MAXIMUM = 256 << 20, MAGIC_BYTES = 8, NAMES_MAXIMUM = 1 << 20 };

/* Cuts the next message off; NULL at the end or when a length makes no sense. */
static const uint8_t *next_message(const uint8_t **cursor, size_t *left, size_t *ret_length)
{
    const uint8_t *message = *cursor + sizeof(uint32_t);
    uint32_t length;

    if (*left < sizeof length)
        return NULL;
    memcpy(&length, *cursor, sizeof length);
    if (length > *left - sizeof length)
        return NULL;
    *cursor = message + length;
    *left -= sizeof length + length;
    *ret_length = length;
    return message;
}

static size_t collect_names(const uint8_t *cursor, size_t left, char **names)
{
    const uint8_t *message;
    size_t length = 0, count = 0;

    while (count < NAMES_MAXIMUM && (message = next_message(&cursor, &left, &length))) {
        Criu__FileEntry *entry = criu__file_entry__unpack(NULL, length, message);

        if (!entry)
            break;
        if (entry->regular && entry->regular->name)
            names[count++] = text_copy(entry->regular->name);
        criu__file_entry__free_unpacked(entry, NULL);
    }
    return count;
}

static int read_files(int directory, char **ret_image, size_t *ret_length, struct error *error)
{
    int r = file_read(directory, "files.img", IMAGE_MAXIMUM, ret_image, ret_length);

    if (r < 0 || *ret_length < MAGIC_BYTES)
        return error_set(error, "criu-protocol", r < 0 ? r : EBADMSG, "Can't read files.img");
    return 0;
}

int criu_image_file_names(int directory, char ***ret_names, struct error *error)
{
    CLEANUP(free_ptr) char *image = NULL;
    size_t length = 0;
    char **names;
    int r = read_files(directory, &image, &length, error);

    if (r < 0)
        return r;
    /* No entry takes less than this. */
    names = calloc(length / sizeof(uint32_t) + 1, sizeof *names);
    if (!names)
        return error_set(error, "out-of-memory", ENOMEM, "Can't read files.img");
    (void)collect_names((const uint8_t *)image + MAGIC_BYTES, length - MAGIC_BYTES, names);
    *ret_names = names;
    return 0;
}

enum { REMAPPED_TO_GHOST = 1 };

struct ghost {
    uint32_t file_id, remap_id;
};

static int compare_ghosts(const void *a, const void *b)
{
    const struct ghost *left = a, *right = b;

    return (left->file_id > right->file_id) - (left->file_id < right->file_id);
}

static size_t collect_ghosts(const uint8_t *cursor, size_t left, struct ghost *ghosts)
{
    const uint8_t *message;
    size_t length = 0, count = 0;

    while ((message = next_message(&cursor, &left, &length))) {
        Criu__RemappedFile *entry = criu__remapped_file__unpack(NULL, length, message);

        if (!entry)
            break;
        if (entry->type == REMAPPED_TO_GHOST)
            ghosts[count++] =
                (struct ghost){.file_id = entry->file_id, .remap_id = entry->remap_id};
        criu__remapped_file__free_unpacked(entry, NULL);
    }
    qsort(ghosts, count, sizeof *ghosts, compare_ghosts);
    return count;
}

/* Without any deleted file there is no such image. */
static int read_ghosts(int directory, struct ghost **ret_ghosts, size_t *ret_count,
                       struct error *error)
{
    CLEANUP(free_ptr) char *image = NULL;
    size_t length = 0;
    int r = file_read(directory, "remap-fpath.img", IMAGE_MAXIMUM, &image, &length);

    if (r == -ENOENT)
        return 0;
    if (r < 0 || length < MAGIC_BYTES)
        return error_set(error, "criu-protocol", r < 0 ? r : EBADMSG, "Can't read remap-fpath.img");
    *ret_ghosts = calloc(length / sizeof(uint32_t) + 1, sizeof **ret_ghosts);
    if (!*ret_ghosts)
        return error_set(error, "out-of-memory", ENOMEM, "Can't read remap-fpath.img");
    *ret_count =
        collect_ghosts((const uint8_t *)image + MAGIC_BYTES, length - MAGIC_BYTES, *ret_ghosts);
    return 0;
}

static char **name_ghosts(const uint8_t *cursor, size_t left, const struct ghost *ghosts,
                          size_t count)
{
    char **names = allocate((count + 1) * sizeof *names);
    const uint8_t *message;
    size_t length = 0, named = 0;

    while (named < count && (message = next_message(&cursor, &left, &length))) {
        Criu__FileEntry *entry = criu__file_entry__unpack(NULL, length, message);
        struct ghost key = {.file_id = entry ? entry->id : 0};
        const struct ghost *ghost = bsearch(&key, ghosts, count, sizeof key, compare_ghosts);

        if (ghost && entry && entry->regular && entry->regular->name)
            names[named++] = text_format("%s.cr.%x.ghost", entry->regular->name, ghost->remap_id);
        if (entry)
            criu__file_entry__free_unpacked(entry, NULL);
    }
    return names;
}

int criu_image_ghost_names(int directory, char ***ret_names, struct error *error)
{
    CLEANUP(free_ptr) struct ghost *ghosts = NULL;
    CLEANUP(free_ptr) char *image = NULL;
    size_t count = 0, length = 0;
    int r = read_ghosts(directory, &ghosts, &count, error);

    if (r == 0)
        r = read_files(directory, &image, &length, error);
    if (r < 0)
        return r;
    *ret_names =
        name_ghosts((const uint8_t *)image + MAGIC_BYTES, length - MAGIC_BYTES, ghosts, count);
    return 0;
}

static bool is_stuck(const Criu__Timer *timer)
{
    return timer && timer->ticks > 0 && !timer->value_seconds && !timer->value_nanoseconds &&
           (timer->interval_seconds || timer->interval_nanoseconds);
}

static int append_entry(struct buffer *out, const Criu__FileEntry *entry)
{
    uint32_t length = (uint32_t)criu__file_entry__get_packed_size(entry);
    CLEANUP(free_ptr) uint8_t *data = allocate(length);
    int r = buffer_append(out, &length, sizeof length);

    (void)criu__file_entry__pack(entry, data);
    return r < 0 ? r : buffer_append(out, data, length);
}

/* Copies one message, mended where it has to be; 1 when it was. */
static int mend_message(const uint8_t *message, size_t length, struct buffer *out)
{
    Criu__FileEntry *entry = criu__file_entry__unpack(NULL, length, message);
    bool stuck = entry && is_stuck(entry->timer);
    uint32_t size = (uint32_t)length;
    int r;

    if (stuck) {
        entry->timer->value_seconds = entry->timer->interval_seconds;
        entry->timer->value_nanoseconds = entry->timer->interval_nanoseconds;
        r = append_entry(out, entry);
    } else {
        r = buffer_append(out, &size, sizeof size);
        if (r == 0)
            r = buffer_append(out, message, length);
    }
    if (entry)
        criu__file_entry__free_unpacked(entry, NULL);
    return r < 0 ? r : stuck;
}

static int mend_all(const uint8_t *image, size_t length, struct buffer *out)
{
    const uint8_t *cursor = image + MAGIC_BYTES, *message;
    size_t left = length - MAGIC_BYTES, size = 0;
    int mended = 0, r = buffer_append(out, image, MAGIC_BYTES);

    while (r >= 0 && (message = next_message(&cursor, &left, &size))) {
        r = mend_message(message, size, out);
        mended |= r > 0;
    }
    return r < 0 ? r : mended;
}

int criu_image_mend(int directory, struct error *error)
{
    CLEANUP(free_ptr) char *image = NULL;
    struct buffer out = BUFFER_INIT(IMAGE_MAXIMUM);
    size_t length = 0;
    int r = file_read(directory, "files.img", IMAGE_MAXIMUM, &image, &length);

    if (r == 0 && length < MAGIC_BYTES)
        r = -EBADMSG;
    if (r == 0)
        r = mend_all((const uint8_t *)image, length, &out);
    if (r > 0)
        r = file_write_atomic(directory, "files.img", out.data, out.length);
    buffer_done(&out);
    return r < 0 ? error_set(error, r == -ENOSPC ? "disk-full" : "criu-protocol", r,
                             "Can't mend files.img")
                 : 0;
}

/* Any number that is no id of a namespace in these images, which count from 1. */
enum { ANOTHER_NAMESPACE = 1 << 24 };

/* The only image whose name needs no magic of its own beside the common one. */
enum { INVENTORY_MAGIC_BYTES = 4 };

static int write_inventory(int directory, const uint8_t *magic, const Criu__Inventory *inventory)
{
    uint32_t length = (uint32_t)criu__inventory__get_packed_size(inventory);
    CLEANUP(free_ptr) uint8_t *data = allocate(INVENTORY_MAGIC_BYTES + sizeof length + length);

    memcpy(data, magic, INVENTORY_MAGIC_BYTES);
    memcpy(data + INVENTORY_MAGIC_BYTES, &length, sizeof length);
    (void)criu__inventory__pack(inventory, data + INVENTORY_MAGIC_BYTES + sizeof length);
    return file_write_atomic(directory, "inventory.img", data,
                             INVENTORY_MAGIC_BYTES + sizeof length + length);
}

/* The first message of an image; NULL when it is too short. */
static const uint8_t *first_message(const char *image, size_t left, size_t magic,
                                    size_t *ret_length)
{
    const uint8_t *cursor = (const uint8_t *)image + magic;

    if (left <= magic)
        return NULL;
    left -= magic;
    return next_message(&cursor, &left, ret_length);
}

/* What the first process was in. */
static int read_user_namespace(int directory, uint32_t *ret_number)
{
    CLEANUP(free_ptr) char *image = NULL;
    Criu__KernelIds *ids = NULL;
    const uint8_t *message;
    size_t left = 0, length = 0;
    int r = file_read(directory, "ids-1.img", IMAGE_MAXIMUM, &image, &left);

    if (r < 0)
        return r;
    message = first_message(image, left, MAGIC_BYTES, &length);
    ids = message ? criu__kernel_ids__unpack(NULL, length, message) : NULL;
    if (!ids)
        return -EBADMSG;
    *ret_number = ids->user_namespace;
    criu__kernel_ids__free_unpacked(ids, NULL);
    return 0;
}

int criu_image_choose_namespaces(int directory, struct error *error)
{
    CLEANUP(free_ptr) char *image = NULL;
    Criu__Inventory *inventory = NULL;
    const uint8_t *message = NULL;
    size_t left = 0, length = 0;
    uint32_t user = 0;
    int r = file_read(directory, "inventory.img", IMAGE_MAXIMUM, &image, &left);

    if (r == 0)
        r = read_user_namespace(directory, &user);
    if (r == 0)
        message = first_message(image, left, INVENTORY_MAGIC_BYTES, &length);
    if (message)
        inventory = criu__inventory__unpack(NULL, length, message);
    if (!inventory || !inventory->criu || !inventory->criu->has_pid_namespace) {
        r = r < 0 ? r : -EBADMSG;
    } else {
        inventory->criu->pid_namespace = ANOTHER_NAMESPACE;
        if (inventory->criu->has_user_namespace)
            inventory->criu->user_namespace = user;
        r = write_inventory(directory, (const uint8_t *)image, inventory);
    }
    if (inventory)
        criu__inventory__free_unpacked(inventory, NULL);
    return r < 0 ? error_set(error, r == -ENOSPC ? "disk-full" : "criu-protocol", r,
                             "Can't change inventory.img")
                 : 0;
}

void criu_names_free(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}
