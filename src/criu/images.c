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

int criu_image_file_names(int directory, char ***ret_names, struct error *error)
{
    CLEANUP(free_ptr) char *image = NULL;
    size_t length = 0;
    char **names;
    int r = file_read(directory, "files.img", IMAGE_MAXIMUM, &image, &length);

    if (r < 0 || length < MAGIC_BYTES)
        return error_set(error, "criu-protocol", r < 0 ? r : EBADMSG, "Can't read files.img");
    /* No entry takes less than this. */
    names = calloc(length / sizeof(uint32_t) + 1, sizeof *names);
    if (!names)
        return error_set(error, "out-of-memory", ENOMEM, "Can't read files.img");
    (void)collect_names((const uint8_t *)image + MAGIC_BYTES, length - MAGIC_BYTES, names);
    *ret_names = names;
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

void criu_names_free(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}
