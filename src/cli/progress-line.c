/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress-line.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/text.h"
#include "cli/output.h"

enum { DEPTH_MAXIMUM = 8, DRAW_EVERY_USEC = 100000 };

struct phase {
    char *name;
    uint64_t start; /* usec */
    uint64_t done;
    uint64_t total;
};

struct progress_line {
    struct reporter reporter; /* first: the callbacks get a pointer to it */
    enum progress_mode mode;
    FILE *stream;
    struct phase phases[DEPTH_MAXIMUM];
    size_t depth; /* may exceed the maximum; phases deeper down are not shown */
    uint64_t drawn_at;
    bool drawn;
};

enum progress_mode progress_mode_parse(const char *word, FILE *stream)
{
    if (text_equal(word, "none"))
        return PROGRESS_NONE;
    if (text_equal(word, "plain"))
        return PROGRESS_PLAIN;
    if (text_equal(word, "json"))
        return PROGRESS_JSON;
    return isatty(fileno(stream)) && !text_equal(getenv("TERM"), "dumb") ? PROGRESS_LINE
                                                                         : PROGRESS_PLAIN;
}

static struct phase *phase_now(struct progress_line *line)
{
    return line->depth && line->depth <= DEPTH_MAXIMUM ? &line->phases[line->depth - 1] : NULL;
}

/* Gives up `object`. */
static void emit_json(struct progress_line *line, json_t *object)
{
    (void)json_dumpf(object, line->stream, JSON_COMPACT | JSON_ENSURE_ASCII);
    (void)fputc('\n', line->stream);
    (void)fflush(line->stream);
    json_decref(object);
}

/* "1.2 GiB of 4.0 GiB (30 %), 3.1 GiB/s"; empty when no bytes were reported. */
static char *describe_bytes(const struct phase *phase, double seconds)
{
    CLEANUP(free_ptr) char *done = text_bytes(phase->done);
    CLEANUP(free_ptr) char *total = text_bytes(phase->total);
    CLEANUP(free_ptr) char *rate = NULL;

    if (phase->done == 0 && phase->total == 0)
        return text_copy("");
    if (seconds < 0.01)
        return text_format(", %s", done);
    rate = text_bytes((uint64_t)((double)phase->done / seconds));
    if (phase->total == 0 || phase->total == phase->done)
        return text_format(", %s, %s/s", done, rate);
    return text_format(", %s of %s (%.0f %%), %s/s", done, total,
                       100.0 * (double)phase->done / (double)phase->total, rate);
}

static void draw(struct progress_line *line)
{
    static const char turning[] = "|/-\\";
    const struct phase *phase = phase_now(line);
    uint64_t now = clock_now_usec();
    CLEANUP(free_ptr) char *bytes = NULL;
    double seconds;

    if (!phase)
        return;
    seconds = (double)(now - phase->start) / 1e6;
    bytes = describe_bytes(phase, seconds);
    (void)fprintf(line->stream, "\r\033[K%c ", turning[now / DRAW_EVERY_USEC % 4]);
    print_safe(line->stream, phase->name);
    (void)fprintf(line->stream, ": %.1f s%s", seconds, bytes);
    (void)fflush(line->stream);
    line->drawn_at = now;
    line->drawn = true;
}

void progress_line_clear(struct progress_line *line)
{
    if (!line || !line->drawn)
        return;
    (void)fputs("\r\033[K", line->stream);
    (void)fflush(line->stream);
    line->drawn = false;
}

static void on_phase_begin(struct reporter *reporter, const char *name)
{
    struct progress_line *line = (struct progress_line *)reporter;
    struct phase *phase;

    line->depth++;
    phase = phase_now(line);
    if (!phase)
        return;
    *phase = (struct phase){.name = text_copy(name), .start = clock_now_usec()};
    if (line->mode == PROGRESS_LINE)
        draw(line);
    else if (line->mode == PROGRESS_JSON)
        emit_json(line, json_pack("{s:s, s:o}", "event", "phase-begin", "phase", json_text(name)));
}

static void end_line(struct progress_line *line, const struct phase *phase, double seconds)
{
    CLEANUP(free_ptr) char *bytes = describe_bytes(phase, seconds);
    CLEANUP(free_ptr) char *time = text_duration(seconds);

    progress_line_clear(line);
    (void)fprintf(line->stream, "%*s", (int)(2 * (line->depth - 1)), "");
    print_safe(line->stream, phase->name);
    (void)fprintf(line->stream, ": %s%s\n", time, bytes);
    (void)fflush(line->stream);
}

static void on_phase_end(struct reporter *reporter, double seconds)
{
    struct progress_line *line = (struct progress_line *)reporter;
    struct phase *phase = phase_now(line);

    if (line->depth == 0)
        return;
    if (phase && line->mode == PROGRESS_JSON)
        emit_json(line, json_pack("{s:s, s:o, s:f, s:I}", "event", "phase-end", "phase",
                                  json_text(phase->name), "seconds", seconds, "bytes",
                                  (json_int_t)phase->done));
    else if (phase)
        end_line(line, phase, seconds);
    if (phase)
        free(STEAL_PTR(phase->name));
    line->depth--;
}

static void on_bytes(struct reporter *reporter, uint64_t done, uint64_t total)
{
    struct progress_line *line = (struct progress_line *)reporter;
    struct phase *phase = phase_now(line);
    uint64_t now;

    if (!phase)
        return;
    phase->done = done;
    phase->total = total;
    if (line->mode == PROGRESS_PLAIN)
        return;
    now = clock_now_usec();
    if (now - line->drawn_at < DRAW_EVERY_USEC)
        return;
    line->drawn_at = now;
    if (line->mode == PROGRESS_LINE)
        draw(line);
    else
        emit_json(line, json_pack("{s:s, s:o, s:I, s:I}", "event", "bytes", "phase",
                                  json_text(phase->name), "done", (json_int_t)done, "total",
                                  (json_int_t)total));
}

static void on_note(struct reporter *reporter, const char *message)
{
    struct progress_line *line = (struct progress_line *)reporter;

    if (line->mode == PROGRESS_JSON) {
        emit_json(line, json_pack("{s:s, s:o}", "event", "note", "message", json_text(message)));
        return;
    }
    progress_line_clear(line);
    (void)fputs("note: ", line->stream);
    print_safe(line->stream, message);
    (void)fputc('\n', line->stream);
}

static const struct reporter_operations silent = {0};

static const struct reporter_operations showing = {
    .phase_begin = on_phase_begin,
    .phase_end = on_phase_end,
    .bytes = on_bytes,
    .note = on_note,
};

struct progress_line *progress_line_new(enum progress_mode mode, FILE *stream)
{
    struct progress_line *line = allocate(sizeof *line);

    line->reporter.operations = mode == PROGRESS_NONE ? &silent : &showing;
    line->mode = mode;
    line->stream = stream;
    return line;
}

struct reporter *progress_line_reporter(struct progress_line *line)
{
    return &line->reporter;
}

void progress_line_free(struct progress_line *line)
{
    if (!line)
        return;
    progress_line_clear(line);
    for (size_t i = 0; i < DEPTH_MAXIMUM; i++)
        free(line->phases[i].name);
    free(line);
}
