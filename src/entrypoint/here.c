/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/here.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "entrypoint/json-scan.h"
#include "entrypoint/privileges.h"
#include "entrypoint/say.h"
#include "entrypoint/signals.h"

enum {
    ARGUMENTS_MAXIMUM = 32,
    ANSWER_MAXIMUM = 1 << 20,
    LOOK_MSEC = 100,
    END_PATIENCE_SECONDS = 20,   /* for undoing, once it was told to end */
    UNLIMITED_SECONDS = 1000000, /* with no limit at all it would not listen to signals */
    STATUS_NOT_STARTED = 127,
};

#define PLUGIN "stasis_plugin.so"

static char *in_bundle(const struct settings *settings, const char *name)
{
    return text_format("%s/%s", settings->bundle, name);
}

static char *find_missing_privileges(void)
{
    CLEANUP(free_ptr) char *status = NULL;
    CLEANUP(free_ptr) char *names = NULL;

    if (file_read(AT_FDCWD, "/proc/self/status", 1 << 20, &status, NULL) < 0)
        return text_copy("there is no /proc");
    names = privileges_missing(status);
    if (geteuid() != 0)
        return text_copy("it does not run as root (own-privileges)");
    return *names ? text_format("it lacks capabilities that securityContext.privileged gives: %s "
                                "(own-privileges)",
                                names)
                  : NULL;
}

char *here_obstacle(const struct settings *settings)
{
    CLEANUP(free_ptr) char *loader = in_bundle(settings, "lib/loader");
    bool wanted = strcasecmp(settings->restore_by, "here") == 0;

    if (strcasecmp(settings->restore_by, "agent") == 0)
        return text_copy("STASIS_RESTORE_BY says so");
    if (settings->control && !wanted)
        return text_copy("there is a control directory, so an agent restores");
    if (access(loader, X_OK) < 0)
        return text_format("its image can't restore by itself: %s: %s", loader, strerror(errno));
    return find_missing_privileges();
}

/* CRIU_WORK_DIR, or the first of two places that can be written to. The second one is in memory by
 * the time that it is used, and seen by the restore only. */
static char *work_directory(const struct settings *settings)
{
    if (settings->criu_work)
        return text_copy(settings->criu_work);
    return access("/tmp", W_OK) == 0 ? text_copy("/tmp") : in_bundle(settings, "run");
}

/* Our own directory first, then what the image's loader is told by its environment: the libraries
 * of a GPU's driver are where the container runtime has put them. */
static char *library_path(const struct settings *settings)
{
    CLEANUP(free_ptr) char *own = in_bundle(settings, "lib");
    const char *more = getenv("LD_LIBRARY_PATH");

    return more && *more ? text_format("%s:%s", own, more) : STEAL_PTR(own);
}

/* The list is for a process that becomes the program: nobody frees it. */
static char **arguments_of(const struct settings *settings, const struct snapshot_place *place)
{
    char **list = allocate(ARGUMENTS_MAXIMUM * sizeof *list);
    char *all[] = {
        in_bundle(settings, "lib/loader"),
        text_copy("--library-path"),
        library_path(settings),
        in_bundle(settings, "bin/container-restore"),
        text_copy("--root"),
        text_copy(place->root),
        text_copy("--snapshot"),
        text_copy(place->id),
        text_copy("--marker"),
        text_copy(settings->marker),
        text_copy("--logs"),
        work_directory(settings),
        text_copy("--criu-log"),
        text_copy(SETTINGS_CRIU_LOG),
        text_copy("--criu-log-level"),
        text_format("%d", settings->criu_log_level),
        text_copy("--timeout"),
        text_format("%d", settings->criu_timeout ? settings->criu_timeout : UNLIMITED_SECONDS)};

    memcpy(list, all, sizeof all);
    return list;
}

static void set_environment(const struct settings *settings)
{
    CLEANUP(free_ptr) char *libexec = in_bundle(settings, "libexec");
    CLEANUP(free_ptr) char *criu = in_bundle(settings, "criu/criu");
    CLEANUP(free_ptr) char *run = in_bundle(settings, "run");
    CLEANUP(free_ptr)
    char *plugin = text_format("%s/" PLUGIN, settings->plugins ? settings->plugins : "");

    (void)setenv("STASIS_LIBEXEC", libexec, 1);
    (void)setenv("STASIS_CRIU", criu, 1);
    (void)setenv("STASIS_RUN", run, 1);
    (void)setenv("TMPDIR", run, 1);
    if (access(plugin, R_OK) == 0)
        (void)setenv("STASIS_PLUGINS", settings->plugins, 1);
    (void)unsetenv("LD_PRELOAD");
}

_Noreturn static void become_restore(const struct settings *settings,
                                     const struct snapshot_place *place, const sigset_t *before,
                                     int output)
{
    char **arguments = arguments_of(settings, place);

    set_environment(settings);
    (void)setsid();
    (void)sigprocmask(SIG_SETMASK, before, NULL);
    if (dup2(output, STDOUT_FILENO) >= 0)
        (void)execv(arguments[0], arguments);
    say("can't start %s: %s", arguments[0], strerror(errno));
    _exit(STATUS_NOT_STARTED);
}

/* It undoes what it has done when it is told to; the second time there is no choice. */
static void tell_to_end(pid_t child, uint64_t *told)
{
    if (*told == 0) {
        *told = clock_now_usec();
        (void)kill(child, SIGTERM);
        (void)kill(child, SIGCONT);
    } else if (clock_seconds_since(*told) > END_PATIENCE_SECONDS) {
        (void)kill(-child, SIGKILL);
        (void)kill(child, SIGKILL);
    }
}

struct watch {
    pid_t child;
    uint64_t start, told;
    int signal; /* that asked for an end; 0: none */
    bool late;
};

/* Nothing but the restore itself is reaped here: the first restored process may have ended already,
 * and how is what the container's runtime wants to know. */
static int wait_for_end(const struct settings *settings, const sigset_t *waited,
                        struct watch *watch)
{
    const struct timespec pause = {.tv_nsec = LOOK_MSEC * 1000000L};
    int status = 0, number;

    while (waitpid(watch->child, &status, WNOHANG) == 0) {
        number = sigtimedwait(waited, NULL, &pause);
        if (signal_asks_for_an_end(number))
            watch->signal = number;
        watch->late = settings->criu_timeout > 0 &&
                      clock_seconds_since(watch->start) >= settings->criu_timeout;
        if (watch->signal || watch->late)
            tell_to_end(watch->child, &watch->told);
    }
    return status;
}

static char *reason_of(const struct settings *settings, int output, int status,
                       const struct watch *watch)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/self/fd/%d", output);
    CLEANUP(free_ptr) char *answer = NULL, *code = NULL;

    if (watch->late)
        return text_format("The restore took longer than the %d seconds of CRIU_TIMEOUT",
                           settings->criu_timeout);
    if (file_read(AT_FDCWD, path, ANSWER_MAXIMUM, &answer, NULL) == 0)
        code = json_scan_string(answer, "code");
    if (code)
        return text_format("The restore failed (%s; `%s/explain %s` says why and what "
                           "to do)",
                           code, settings->bundle, code);
    return WIFSIGNALED(status)
               ? text_format("The restore was ended by signal %d", WTERMSIG(status))
               : text_format("The restore failed with status %d", WEXITSTATUS(status));
}

enum here_outcome here_restore(const struct settings *settings, const struct snapshot_place *place,
                               const sigset_t *waited, const sigset_t *before, char **ret_reason,
                               int *ret_signal)
{
    CLEANUP(close_fd) int output = memfd_create("answer", MFD_CLOEXEC);
    struct watch watch = {.child = output < 0 ? -1 : fork(), .start = clock_now_usec()};
    int status;

    if (watch.child == 0)
        become_restore(settings, place, before, output);
    if (watch.child < 0) {
        *ret_reason = text_format("The restore can't be started: %s", strerror(errno));
        return HERE_FAILED;
    }
    status = wait_for_end(settings, waited, &watch);
    *ret_signal = watch.signal;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return HERE_RESTORED;
    if (watch.signal)
        return HERE_TOLD_TO_END;
    *ret_reason = reason_of(settings, output, status, &watch);
    return HERE_FAILED;
}
