/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/cold-start.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "entrypoint/say.h"

enum {
    STATUS_NOTHING_TO_START = 1,
    STATUS_CANNOT_EXECUTE = 126,
    STATUS_NOT_FOUND = 127,
    WORDS_MAXIMUM = 256,
};

static void remove_old(const char *path, const char *what)
{
    if (unlink(path) == 0)
        say("removed %s, %s of an earlier run", path, what);
    else if (errno != ENOENT && errno != ENOTDIR)
        say("can't remove %s, %s of an earlier run: %s", path, what, strerror(errno));
}

void cold_start_clean(const struct settings *settings)
{
    remove_old(settings->marker, "the restore marker");
    if (settings->signal_file)
        remove_old(settings->signal_file, "the signal file");
}

void cold_start_forget(void)
{
    static const char *const names[] = {"SNAPSHOT_CONTROL_DIR", "DYN_SNAPSHOT_CONTROL_DIR",
                                        "SNAPSHOT_RESTORE_STANDBY", "DYN_SNAPSHOT_RESTORE_STANDBY",
                                        "DYN_READY_FOR_CHECKPOINT_FILE"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unsetenv(names[i]);
}

static int start(char **command)
{
    (void)execvp(command[0], command);
    say("can't start %s: %s", command[0], strerror(errno));
    return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_EXECUTE;
}

/* By a shell; an image without one has it split at spaces. */
static int start_default(const char *text)
{
    CLEANUP(free_ptr) char *line = text_format("exec %s", text);
    CLEANUP(free_ptr) char *copy = text_copy(text);
    char *const shell[] = {(char *)"/bin/sh", (char *)"-c", line, NULL};
    char *words[WORDS_MAXIMUM], *rest = NULL;
    size_t count = 0;

    (void)execv(shell[0], shell);
    for (char *word = strtok_r(copy, " \t\n", &rest); word && count < WORDS_MAXIMUM - 1;
         word = strtok_r(NULL, " \t\n", &rest))
        words[count++] = word;
    words[count] = NULL;
    return count ? start(words) : STATUS_NOTHING_TO_START;
}

int cold_start(const struct settings *settings, char **command, const sigset_t *before)
{
    cold_start_clean(settings);
    if (!command[0] && !settings->default_command) {
        say("there is no command to start");
        return STATUS_NOTHING_TO_START;
    }
    (void)sigprocmask(SIG_SETMASK, before, NULL);
    return command[0] ? start(command) : start_default(settings->default_command);
}
