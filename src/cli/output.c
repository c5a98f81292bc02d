/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"

enum { WIDTH_DEFAULT = 80, WIDTH_LEAST = 40, WIDTH_MOST = 120, COLUMNS_MAXIMUM = 16 };

size_t terminal_width(FILE *stream)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size = {0};
    int width = 0;

    if (!columns || text_to_int(columns, &width) < 0 || width <= 0) {
        width = WIDTH_DEFAULT;
        if (isatty(fileno(stream)) && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col)
            width = size.ws_col;
    }
    if (width < WIDTH_LEAST)
        return WIDTH_LEAST;
    return width > WIDTH_MOST ? WIDTH_MOST : (size_t)width;
}

/* Length of the well-formed UTF-8 character at `c` (RFC 3629), 0 when it is none. */
static size_t utf8_length(const unsigned char *c)
{
    size_t length;

    if (c[0] < 0x80)
        return 1;
    if (c[0] >= 0xc2 && c[0] <= 0xdf)
        length = 2;
    else if ((c[0] & 0xf0) == 0xe0)
        length = 3;
    else if (c[0] >= 0xf0 && c[0] <= 0xf4)
        length = 4;
    else
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
        (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    return length;
}

/* Printable as it is? C1 controls (U+0080 to U+009F) upset terminals, too. */
static bool is_harmless(const unsigned char *c, size_t length)
{
    if (length == 0 || (length == 1 && (c[0] < 0x20 || c[0] == 0x7f)))
        return false;
    return !(length == 2 && c[0] == 0xc2 && c[1] < 0xa0);
}

char *text_safe(const char *text)
{
    struct buffer buffer = BUFFER_INIT(SIZE_MAX / 2);
    const unsigned char *c = (const unsigned char *)text;

    (void)buffer_append(&buffer, "", 0);
    while (*c) {
        size_t length = utf8_length(c);

        if (is_harmless(c, length)) {
            (void)buffer_append(&buffer, c, length);
            c += length;
        } else {
            (void)buffer_printf(&buffer, "\\x%02x", *c++);
        }
    }
    return buffer.data ? buffer.data : text_copy("");
}

void print_safe(FILE *stream, const char *text)
{
    CLEANUP(free_ptr) char *safe = text_safe(text);

    (void)fputs(safe, stream);
}

json_t *json_text(const char *text)
{
    json_t *string = json_string(text);

    if (!string) {
        CLEANUP(free_ptr) char *safe = text_safe(text);

        string = json_string(safe);
    }
    return string;
}

void print_json_object(FILE *stream, json_t *object)
{
    (void)json_dumpf(object, stream, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    (void)fputc('\n', stream);
    json_decref(object);
}

/* Columns that UTF-8 text takes, by counting characters. */
static size_t columns_of(const char *text, size_t length)
{
    size_t columns = 0;

    for (size_t i = 0; i < length; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

static void print_indent(FILE *stream, size_t indent)
{
    (void)fprintf(stream, "%*s", (int)indent, "");
}

void print_wrapped(FILE *stream, const char *text, size_t column, size_t indent, size_t width)
{
    bool fresh = true; /* nothing of ours on this line yet */

    while (*text) {
        size_t length, columns;

        if (text[0] == '\n' && text[1] == '\n') {
            (void)fputs("\n\n", stream);
            print_indent(stream, indent);
            column = indent;
            fresh = true;
        }
        if (*text == ' ' || *text == '\n') {
            text++;
            continue;
        }
        length = strcspn(text, " \n");
        columns = columns_of(text, length);
        if (!fresh && column + 1 + columns > width) {
            (void)fputc('\n', stream);
            print_indent(stream, indent);
            column = indent;
            fresh = true;
        }
        if (!fresh) {
            (void)fputc(' ', stream);
            column++;
        }
        (void)fwrite(text, 1, length, stream);
        column += columns;
        text += length;
        fresh = false;
    }
    (void)fputc('\n', stream);
}

char *text_duration(double seconds)
{
    unsigned long whole = (unsigned long)(seconds + 0.5);

    if (seconds < 0.0995)
        return text_format("%.1f ms", seconds * 1000);
    if (seconds < 60)
        return text_format("%.2f s", seconds);
    if (whole < 3600)
        return text_format("%lu min %lu s", whole / 60, whole % 60);
    return text_format("%lu h %lu min", whole / 3600, whole / 60 % 60);
}

char *text_age(const char *date)
{
    struct tm utc = {0};
    const char *end = date ? strptime(date, "%Y-%m-%dT%H:%M:%SZ", &utc) : NULL;
    double seconds;

    if (!end || *end)
        return text_copy("?");
    seconds = difftime(time(NULL), timegm(&utc));
    if (seconds < 0)
        return text_copy("in the future");
    if (seconds < 60)
        return text_format("%.0f s", seconds);
    if (seconds < 3600)
        return text_format("%.0f min", seconds / 60);
    if (seconds < 48 * 3600)
        return text_format("%.0f h", seconds / 3600);
    return text_format("%.0f days", seconds / 86400);
}

struct table {
    char **cells; /* the headings first */
    size_t count;
    size_t capacity;
    size_t columns;
    unsigned right; /* bit mask of columns */
};

static void table_put(struct table *table, char *text)
{
    if (table->count == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        char **grown = allocate(capacity * sizeof *grown);

        if (table->count)
            memcpy(grown, table->cells, table->count * sizeof *grown);
        free(table->cells);
        table->cells = grown;
        table->capacity = capacity;
    }
    table->cells[table->count++] = text;
}

struct table *table_new(const char *headings)
{
    struct table *table = allocate(sizeof *table);

    for (;;) {
        size_t length;

        if (*headings == '>') {
            table->right |= 1u << table->columns;
            headings++;
        }
        length = strcspn(headings, "|");
        table_put(table, text_format("%.*s", (int)length, headings));
        table->columns++;
        headings += length;
        if (!*headings || table->columns == COLUMNS_MAXIMUM)
            return table;
        headings++;
    }
}

void table_add(struct table *table, char *text)
{
    CLEANUP(free_ptr) char *owned = text;

    table_put(table, owned ? text_safe(owned) : text_copy("-"));
}

/* 0 when no row has anything there: then the heading is not shown either. */
static size_t column_width(const struct table *table, size_t column)
{
    size_t widest = 0, heading = 0;

    for (size_t i = column; i < table->count; i += table->columns) {
        size_t width = columns_of(table->cells[i], strlen(table->cells[i]));

        if (i == column)
            heading = width;
        else if (width > widest)
            widest = width;
    }
    return widest && heading > widest ? heading : widest;
}

static void print_row(const struct table *table, char *const *cells, const size_t *widths,
                      FILE *stream)
{
    size_t pending = 0; /* blanks that are due only if something follows */

    for (size_t column = 0; column < table->columns; column++) {
        const char *cell = cells[column];
        size_t width = columns_of(cell, strlen(cell)), blank;

        if (widths[column] == 0)
            continue;
        blank = widths[column] - width;
        if (table->right & (1u << column)) {
            pending += blank;
            blank = 0;
        }
        if (width) {
            print_indent(stream, pending);
            (void)fputs(cell, stream);
            pending = 0;
        }
        pending += blank + 2;
    }
    (void)fputc('\n', stream);
}

void table_print(const struct table *table, FILE *stream)
{
    size_t widths[COLUMNS_MAXIMUM];

    if (table->count <= table->columns)
        return;
    for (size_t column = 0; column < table->columns; column++)
        widths[column] = column_width(table, column);
    for (size_t i = 0; i + table->columns <= table->count; i += table->columns)
        print_row(table, table->cells + i, widths, stream);
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}
