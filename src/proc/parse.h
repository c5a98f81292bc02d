/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes that files of /proc share: lines, fields, "Key: value" and octal escapes. All work in
 * place on a zero terminated text that the caller owns, and accept anything. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Largest text that is read from a file of /proc whose size a process can choose. */
#define PROC_TEXT_MAX ((size_t)256 << 20)

/* Cuts the next line (without its newline) off `*cursor`; NULL at the end. */
char *parse_line(char **cursor);

/* Cuts the next field (blanks and tabs separate) off `*cursor`; NULL at the end. */
char *parse_field(char **cursor);

/* Number with nothing behind it, in base 8, 10 or 16; no sign, no blanks, no prefix. */
int parse_number(const char *text, unsigned base, uint64_t *ret_value);

/* The same for a process id (0 allowed). */
int parse_pid(const char *text, pid_t *ret_pid);

/* "8:1" of decimal or hexadecimal parts. */
int parse_device(const char *text, unsigned base, dev_t *ret_device);

/* Undoes the "\012" form that the kernel gives to blanks and newlines in paths, in place. */
void parse_unescape(char *text);

/* When `line` is "key:<blanks>value", the value, else NULL. */
const char *parse_value(const char *line, const char *key);

/* The number at the start of a value ("  123 kB"); 0 when there is none. */
uint64_t parse_leading_number(const char *value);
