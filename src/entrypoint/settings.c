/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "entrypoint/say.h"

enum { WAIT_DEFAULT_SECONDS = 300, LOG_LEVEL_DEFAULT = 4, LOG_LEVEL_MAXIMUM = 4 };

#define PLUGIN "stasis_plugin.so"
#define BUNDLE_DEFAULT "/usr/local/lib/stasis"

/* A variable that is set to nothing is not set. */
static const char *text_of(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static const char *either(const char *name, const char *other)
{
    const char *value = text_of(name);

    return value ? value : text_of(other);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcasecmp(text, *words) == 0)
            return true;
    }
    return false;
}

static bool flag_of(const char *name)
{
    static const char *const yes[] = {"1", "true", "yes", "on", NULL};
    static const char *const no[] = {"0", "false", "no", "off", NULL};
    const char *value = text_of(name);

    if (!value || is_one_of(value, no))
        return false;
    if (is_one_of(value, yes))
        return true;
    say("%s is \"%s\", which is neither true nor false; it is taken as false", name, value);
    return false;
}

int settings_parse_seconds(const char *text, int *ret_seconds)
{
    int seconds;

    if (text_to_int(text, &seconds) < 0 || seconds < 0)
        return -EINVAL;
    *ret_seconds = seconds;
    return 0;
}

static int number_of(const char *name, const char *what, int fallback, int maximum)
{
    const char *value = text_of(name);
    int number = fallback;

    if (value && (settings_parse_seconds(value, &number) < 0 || (maximum && number > maximum))) {
        say("%s is \"%s\", not %s; it is taken as %d", name, value, what, fallback);
        number = fallback;
    }
    return number;
}

/* Where the default has to do: a place that is no path of the container would be nobody's. */
static const char *path_of(const char *name, const char *fallback)
{
    const char *value = text_of(name);

    if (value && *value != '/') {
        say("%s is \"%s\", not a path that begins with a slash; it is taken as %s", name, value,
            fallback ? fallback : "not set");
        value = NULL;
    }
    return value ? value : fallback;
}

static const char *restore_by(void)
{
    static const char *const words[] = {"auto", "here", "agent", NULL};
    const char *value = text_of("STASIS_RESTORE_BY");

    if (value && !is_one_of(value, words)) {
        say("STASIS_RESTORE_BY is \"%s\", not auto, here or agent; it is taken as auto", value);
        value = NULL;
    }
    return value ? value : "auto";
}

void settings_read(struct settings *ret_settings)
{
    *ret_settings = (struct settings){
        .wait_seconds =
            number_of("RESTORE_WAIT_TIMEOUT", "a number of seconds", WAIT_DEFAULT_SECONDS, 0),
        .wait_for_checkpoint = flag_of("WAIT_FOR_CHECKPOINT"),
        .skip_wait = flag_of("SKIP_WAIT_FOR_CHECKPOINT"),
        .debug = flag_of("DEBUG"),
        .hash = either("DYN_CHECKPOINT_HASH", "DYNAMO_CHECKPOINT_HASH"),
        .base = either("DYN_CHECKPOINT_PATH", "DYNAMO_CHECKPOINT_PATH"),
        .location = text_of("DYN_CHECKPOINT_LOCATION"),
        .marker = path_of("DYN_RESTORE_MARKER_FILE", SETTINGS_MARKER_DEFAULT),
        .signal_file = path_of("DYN_CHECKPOINT_SIGNAL_FILE", NULL),
        .trigger = path_of("RESTORE_TRIGGER", SETTINGS_TRIGGER_DEFAULT),
        .default_command = text_of("DEFAULT_CMD"),
        .control = either("SNAPSHOT_CONTROL_DIR", "DYN_SNAPSHOT_CONTROL_DIR"),
        .restore_by = restore_by(),
        .bundle = path_of("STASIS_BUNDLE", BUNDLE_DEFAULT),
        .criu_timeout = number_of("CRIU_TIMEOUT", "a number of seconds", 0, 0),
        .criu_log_level =
            number_of("CRIU_LOG_LEVEL", "0 to 4", LOG_LEVEL_DEFAULT, LOG_LEVEL_MAXIMUM),
        .criu_work = path_of("CRIU_WORK_DIR", NULL),
        .plugins = path_of("CUDA_PLUGIN_DIR", NULL),
        .skip_in_flight = flag_of("CRIU_SKIP_IN_FLIGHT"),
        .auto_dedup = flag_of("CRIU_AUTO_DEDUP"),
        .lazy_pages = flag_of("CRIU_LAZY_PAGES"),
    };
}

void settings_explain(const struct settings *settings)
{
    if (settings->skip_in_flight)
        say("CRIU_SKIP_IN_FLIGHT: connections that were not yet accepted are never restored; their "
            "peers are told by a reset");
    if (settings->auto_dedup)
        say("CRIU_AUTO_DEDUP: nothing is deleted from a snapshot while it is restored; the same "
            "one "
            "can be restored again");
    if (settings->lazy_pages)
        say("CRIU_LAZY_PAGES: all memory is there before the first process goes on, none is loaded "
            "later");
    if (settings->plugins) {
        CLEANUP(free_ptr) char *plugin = text_format("%s/" PLUGIN, settings->plugins);

        if (access(plugin, R_OK) < 0)
            say("CUDA_PLUGIN_DIR: there is no " PLUGIN " in %s; GPUs are restored with that of %s",
                settings->plugins, settings->bundle);
    }
}
