/* SPDX-License-Identifier: Apache-2.0 */
/* snapshotctl: parses the command line, calls the command's handler, reports an error once. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "basic/text.h"
#include "cli/container-choice.h"
#include "cli/exit-status.h"
#include "cli/help.h"
#include "cli/invocation.h"
#include "cli/progress-line.h"
#include "cli/report.h"

/* Descriptors 0 to 2 must be something, or a file opened later would be taken for one of them. */
static void ensure_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        (void)close(fd);
}

/* An error in the command line is reported as JSON, too, when JSON was asked for. */
static bool json_wanted(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

static bool is_attached(const struct invocation *invocation)
{
    return invocation->command->passes_status && !option_flag(invocation, "detach") &&
           !container_is_chosen(invocation);
}

/* The result of a handler as exit status; reports the error. */
static int conclude(const struct invocation *invocation, int result, const struct error *error)
{
    int status;

    if (result >= 0)
        return result;
    error_report(error, invocation->json);
    status = exit_status_of(error, result);
    if (!is_attached(invocation) || status == STATUS_USAGE)
        return status;
    if (error_is(error, "command-not-found"))
        return STATUS_NOT_FOUND;
    if (error_is(error, "command-not-executable"))
        return STATUS_NOT_EXECUTABLE;
    return STATUS_ATTACHED_FAILED;
}

static int call_handler(const struct invocation *invocation, struct error *error)
{
    if (invocation->command->needs_root && geteuid() != 0)
        return error_set(error, "not-root", EPERM, "'%s' needs root", invocation->command->name);
    return invocation->command->handler(invocation, error);
}

static int run_command(struct invocation *invocation)
{
    struct error error = ERROR_INIT;
    struct progress_line *line =
        progress_line_new(progress_mode_parse(option_text(invocation, "progress"), stderr), stderr);
    int result;

    invocation->reporter = progress_line_reporter(line);
    result = call_handler(invocation, &error);
    progress_line_free(line);
    result = conclude(invocation, result, &error);
    error_done(&error);
    return result;
}

static int no_command(void)
{
    help_overview(stderr);
    return STATUS_USAGE;
}

static int dispatch(struct invocation *invocation)
{
    if (invocation->version_wanted) {
        (void)puts("snapshotctl " STASIS_VERSION);
        return STATUS_OK;
    }
    if (invocation->help_wanted) {
        if (invocation->command)
            help_command(stdout, invocation->command);
        else
            help_overview(stdout);
        return STATUS_OK;
    }
    return invocation->command ? run_command(invocation) : no_command();
}

/* Results that did not arrive (full disk) must not look like success. */
static int finish_output(int status)
{
    struct error error = ERROR_INIT;
    bool failed = ferror(stdout) != 0;

    if (fflush(stdout) == EOF)
        failed = true;
    if (!failed || errno == EPIPE || status != STATUS_OK)
        return status;
    (void)error_set(&error, "system", errno, "Can't write to standard output");
    error_report(&error, false);
    error_done(&error);
    return STATUS_FAILED;
}

int main(int argc, char **argv)
{
    struct invocation invocation = INVOCATION_INIT;
    struct error error = ERROR_INIT;
    int status;

    ensure_standard_descriptors();
    if (invocation_parse(argc, (const char *const *)argv, &invocation, &error) < 0) {
        error_report(&error, json_wanted(argc, argv));
        error_done(&error);
        return STATUS_USAGE;
    }
    status = dispatch(&invocation);
    invocation_done(&invocation);
    return finish_output(status);
}
