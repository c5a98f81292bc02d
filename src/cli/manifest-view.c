/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manifest-view.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"

enum { PHASES_MAXIMUM = 256 };

const json_t *view_value(const json_t *object, const char *path)
{
    while (object && *path) {
        size_t length = strcspn(path, ".");
        CLEANUP(free_ptr) char *key = text_format("%.*s", (int)length, path);

        object = json_object_get(object, key);
        path += length;
        if (*path)
            path++;
    }
    return object;
}

const char *view_text(const json_t *object, const char *path, const char *fallback)
{
    const char *text = json_string_value(view_value(object, path));

    return text && *text ? text : fallback;
}

uint64_t view_number(const json_t *object, const char *path)
{
    json_int_t number = json_integer_value(view_value(object, path));

    return number > 0 ? (uint64_t)number : 0;
}

double view_real(const json_t *object, const char *path)
{
    double number = json_number_value(view_value(object, path));

    return isfinite(number) && number > 0 ? number : 0;
}

const json_t *view_array(const json_t *object, const char *path)
{
    const json_t *value = view_value(object, path);

    return json_is_array(value) ? value : NULL;
}

char *view_command(const json_t *value)
{
    struct buffer line = BUFFER_INIT(64 * 1024);

    if (json_is_string(value))
        return text_copy(json_string_value(value));
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *argument = json_string_value(json_array_get(value, i));

        (void)buffer_printf(&line, "%s%s", i ? " " : "", argument ? argument : "?");
    }
    return line.data ? line.data : text_copy("?");
}

char *view_criu_version(const json_t *manifest)
{
    const json_t *value = view_value(manifest, "criu.version");
    json_int_t number = json_integer_value(value);

    if (json_is_string(value))
        return text_copy(json_string_value(value));
    if (number <= 0)
        return text_copy("?");
    if (number % 100 == 0)
        return text_format("%d.%d", (int)(number / 10000), (int)(number / 100 % 100));
    return text_format("%d.%d.%d", (int)(number / 10000), (int)(number / 100 % 100),
                       (int)(number % 100));
}

struct forest {
    const json_t *processes;
    size_t count;
    bool *seen;
    struct {
        size_t index, depth;
    } * stack; /* each process is pushed once */
    size_t top;
};

static json_int_t pid_at(const struct forest *forest, size_t index, const char *key)
{
    return json_integer_value(json_object_get(json_array_get(forest->processes, index), key));
}

static bool has_parent(const struct forest *forest, size_t index)
{
    json_int_t parent = pid_at(forest, index, "ppid");

    for (size_t i = 0; parent && i < forest->count; i++) {
        if (i != index && pid_at(forest, i, "pid") == parent)
            return true;
    }
    return false;
}

static void push(struct forest *forest, size_t index, size_t depth)
{
    if (forest->seen[index])
        return;
    forest->seen[index] = true;
    forest->stack[forest->top].index = index;
    forest->stack[forest->top++].depth = depth;
}

static void walk(struct forest *forest, size_t root,
                 void (*show)(const json_t *process, size_t depth, void *context), void *context)
{
    push(forest, root, 0);
    while (forest->top > 0) {
        size_t index = forest->stack[--forest->top].index;
        size_t depth = forest->stack[forest->top].depth;
        json_int_t pid = pid_at(forest, index, "pid");

        show(json_array_get(forest->processes, index), depth, context);
        for (size_t i = pid ? forest->count : 0; i > 0; i--) {
            if (pid_at(forest, i - 1, "ppid") == pid)
                push(forest, i - 1, depth + 1);
        }
    }
}

size_t view_process_tree(const json_t *processes,
                         void (*show)(const json_t *process, size_t depth, void *context),
                         void *context)
{
    struct forest forest = {.processes = processes, .count = json_array_size(processes)};

    if (forest.count > VIEW_PROCESSES_MAXIMUM)
        forest.count = VIEW_PROCESSES_MAXIMUM;
    forest.seen = allocate(forest.count * sizeof *forest.seen);
    forest.stack = allocate(forest.count * sizeof *forest.stack);
    for (size_t i = 0; i < forest.count; i++) {
        if (!has_parent(&forest, i))
            walk(&forest, i, show, context);
    }
    /* What is left are loops. */
    for (size_t i = 0; i < forest.count; i++)
        walk(&forest, i, show, context);
    free(forest.seen);
    free(forest.stack);
    return json_array_size(processes);
}

struct view_phase *view_phases(const json_t *manifest, size_t *ret_count, double *ret_total)
{
    const json_t *list = view_array(manifest, "phases");
    size_t count = json_array_size(list);
    struct view_phase *phases;
    double end = 0, total = 0;

    if (count > PHASES_MAXIMUM)
        count = PHASES_MAXIMUM;
    phases = allocate(count * sizeof *phases);
    for (size_t i = 0; i < count; i++) {
        const json_t *phase = json_array_get(list, i);

        phases[i].name = view_text(phase, "name", "?");
        phases[i].seconds = view_real(phase, "seconds");
        phases[i].start =
            json_is_number(json_object_get(phase, "start")) ? view_real(phase, "start") : end;
        end = phases[i].start + phases[i].seconds;
        total = end > total ? end : total;
    }
    *ret_count = count;
    *ret_total = total;
    return phases;
}
