/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/control.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

#define COMPLETE "restore-complete"
#define FAILED "restore-failed"

/* Where an agent says that a restore failed in a container that has no control directory. */
#define FAILED_PLACE "/snapshot-control/" FAILED

enum { CONTROL_MAXIMUM = 1 << 16, REASON_MAXIMUM = 2000 };

static char *path_of(const struct control *control, const char *name)
{
    return text_format("%s/%s", control->directory, name);
}

struct control control_open(void)
{
    struct control control = {.directory = getenv("SNAPSHOT_CONTROL_DIR")};
    CLEANUP(free_ptr) char *path = NULL;

    if (!control.directory || !*control.directory)
        control.directory = getenv("DYN_SNAPSHOT_CONTROL_DIR");
    if (!control.directory || !*control.directory)
        return (struct control){.directory = NULL};
    path = path_of(&control, COMPLETE);
    control.complete = stale_note(path);
    return control;
}

/* One line without control characters. */
static void clean(char *text)
{
    if (strlen(text) > REASON_MAXIMUM)
        text[REASON_MAXIMUM] = 0;
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
}

char *control_failure(const struct control *control)
{
    CLEANUP(free_ptr)
    char *path = control->directory ? path_of(control, FAILED) : text_copy(FAILED_PLACE);
    CLEANUP(free_ptr) char *text = NULL;

    if (access(path, F_OK) < 0)
        return NULL;
    if (file_read(AT_FDCWD, path, CONTROL_MAXIMUM, &text, NULL) < 0 || !*text)
        return text_copy("no reason was given");
    clean(text);
    return STEAL_PTR(text);
}

pid_t control_parse(const char *text)
{
    CLEANUP(free_ptr) char *copy = text_copy(text);
    char *rest = NULL;
    int found = 0, pid;

    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (!text_starts_with(line, "pid="))
            continue;
        if (found > 0 || text_to_int(line + 4, &pid) < 0 || pid <= 1)
            return 0; /* twice, or no number of another process: not to be believed */
        found = pid;
    }
    return found;
}

pid_t control_restored(const struct control *control)
{
    CLEANUP(free_ptr) char *path = NULL, *text = NULL;

    if (!control->directory)
        return 0;
    path = path_of(control, COMPLETE);
    if (!stale_is_new(&control->complete, path) ||
        file_read(AT_FDCWD, path, CONTROL_MAXIMUM, &text, NULL) < 0)
        return 0;
    return control_parse(text);
}
