/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/log.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

enum { LOG_MAXIMUM = 64 << 20, LINES_SHOWN = 3 };

struct known_line {
    const char *fragment; /* part of CRIU's line */
    const char *code;     /* catalogue row */
};

/* In order: the first that matches any line wins. Fragments are facts about CRIU 3.17 to 4.2. */
static const struct known_line known_lines[] = {
    {"io_uring", "io-uring"},
    {"Can't get 1:16 opt", "criu-too-old"},
    {"Unsupported VVAR", "criu-too-old"},
    {"Can't link remap", "remap-leftover"},
    {"Can't create ghost", "remap-leftover"},
    {"File exists", "pid-taken"},
    {"Pid ", "pid-taken"},
    {"has bad size", "file-changed"},
    {"has bad build-id", "file-changed"},
    {"Can't open file", "file-missing"},
    {"half of stream unix connection", "unix-outside"},
    {"External socket is used", "unix-outside"},
    {"Connected TCP socket", "tcp-established"},
    {"doesn't live in IPC ns", "sysv-shared"},
    {"Can't dump ghost file", "ghost-too-large"},
    {"Can't dump file", "undumpable-file"},
    {"Address already in use", "address-taken"},
    {"Cannot assign requested address", "address-missing"},
    {"session leader", "session-outside"},
    {"shell-job", "session-outside"},
    {"No space left on device", "disk-full"},
    {"FPU feature required", "cpu-lacks-feature"},
    {"cpu_validate", "cpu-lacks-feature"},
    {"is already being traced", "traced"},
    {"Unable to seize", "traced"},
    {"Timeout reached", "freeze-timeout"},
    {"Can't dump that handle", "watch-on-overlay"},
};

/* Lines that CRIU marks as errors and that stop nothing, or only echo what failed before. */
static const char *const harmless[] = {
    "Can't setup RLIMIT_NOFILE", "Unable to detach",      "Dumping FAILED",
    "Restoring FAILED",          "Can't keep kdat cache",
};

static bool is_harmless(const char *text)
{
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        if (strstr(text, harmless[i]))
            return true;
    }
    return false;
}

/* The text after "Error (file:line): ", or NULL when the line tells no error. */
static const char *error_text(const char *line)
{
    const char *start = strstr(line, "Error (");
    const char *text = start ? strstr(start, "): ") : NULL;

    return text ? text + 3 : NULL;
}

static const char *code_for(const char *text)
{
    for (size_t i = 0; i < sizeof known_lines / sizeof known_lines[0]; i++) {
        if (strstr(text, known_lines[i].fragment))
            return known_lines[i].code;
    }
    return NULL;
}

struct findings {
    const char *code;
    struct buffer text;
    unsigned lines;
};

static void look_at_line(char *line, struct findings *findings)
{
    const char *text;

    for (char *tab = line; (tab = strchr(tab, '\t'));)
        *tab = ' ';
    text = error_text(line);

    if (!text || is_harmless(text))
        return;
    if (!findings->code)
        findings->code = code_for(text);
    if (findings->lines++ < LINES_SHOWN)
        (void)buffer_printf(&findings->text, "%s%s", findings->text.length ? "; " : "", text);
}

void criu_log_explain(int directory, const char *name, struct error *error)
{
    CLEANUP(free_ptr) char *log = NULL;
    struct findings findings = {.text = BUFFER_INIT(4096)};
    char *rest = NULL;

    if (!error || !error->code || !text_starts_with(error->code, "criu-"))
        return;
    if (file_read(directory, name, LOG_MAXIMUM, &log, NULL) < 0)
        return;
    for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        look_at_line(line, &findings);
    if (findings.code)
        error->code = findings.code;
    if (findings.text.length) {
        char *whole = text_format("%s (CRIU: %s)", error->message, findings.text.data);

        free(error->message);
        error->message = whole;
    }
    buffer_done(&findings.text);
}
