/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small strings. These allocations are short and never sized by input, so running out of memory
 * here ends the program (as crash-safe as any other end of it); whatever is sized by input has a
 * maximum and reports -ENOMEM instead.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Like malloc, zeroed, but never returns NULL. */
void *allocate(size_t size);

char *text_copy(const char *text);
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *text_vformat(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

bool text_equal(const char *a, const char *b); /* NULL equals NULL only */
bool text_starts_with(const char *text, const char *prefix);
bool text_ends_with(const char *text, const char *suffix);

/* Whole-string decimal numbers; 0 or -EINVAL/-ERANGE, `ret_value` set on success only. */
int text_to_uint64(const char *text, uint64_t *ret_value);
int text_to_int(const char *text, int *ret_value);

/* "512 B", "1.5 GiB": for people. The caller frees it. */
char *text_bytes(uint64_t bytes);

/* A growing buffer with a mandatory maximum; zero terminated at all times once not empty. */
struct buffer {
    char *data;
    size_t length;
    size_t capacity;
    size_t maximum; /* of `length` */
};

#define BUFFER_INIT(max) ((struct buffer){.maximum = (max)})

int buffer_append(struct buffer *buffer, const void *data, size_t length); /* -ENOMEM, -EFBIG */
int buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_done(struct buffer *buffer);
