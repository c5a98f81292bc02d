/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/installation.h"
#include "basic/text.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "criu/find.h"

extern char **environ;

/* The script talks on standard error; standard output is kept for our result. */
static int run_script(const char *script, bool force, struct error *error)
{
    char *arguments[4] = {(char *)script};
    posix_spawn_file_actions_t actions;
    size_t count = 1;
    int status, r;
    pid_t pid;

    if (force)
        arguments[count++] = (char *)"--force";
    arguments[count] = (char *)STASIS_CRIU_PREFIX;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    r = posix_spawn(&pid, script, &actions, NULL, arguments, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (r != 0)
        return error_set(error, "system", r, "Can't run %s", script);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return error_set(error, "system", errno, "Can't wait for %s", script);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return error_set(error, "setup-failed", 0, "%s ended with %s %d", script,
                     WIFEXITED(status) ? "status" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static int report_criu(bool json, struct error *error)
{
    struct criu_installation found = {0};
    unsigned version;
    int r = criu_find(&found, error);

    if (r < 0)
        return r;
    version = found.version;
    if (json)
        print_json_object(
            stdout,
            json_pack("{s:{s:o, s:o, s:b}}", "criu", "path", json_text(found.path), "version",
                      json_sprintf("%u.%u.%u", version / 10000, version / 100 % 100, version % 100),
                      "private", found.private_copy));
    else
        (void)printf("CRIU %u.%u.%u works here: %s\n", version / 10000, version / 100 % 100,
                     version % 100, found.path);
    criu_installation_done(&found);
    return 0;
}

int command_setup(const struct invocation *invocation, struct error *error)
{
    CLEANUP(free_ptr) char *script = NULL;
    int r;

    if (geteuid() != 0)
        return error_set(error, "not-root", EPERM, "Can't write to %s and try CRIU",
                         STASIS_CRIU_PREFIX);
    r = installation_find(PART_FETCH_CRIU, &script, error);
    if (r == 0)
        r = run_script(script, option_flag(invocation, "force"), error);
    if (r == 0)
        r = report_criu(invocation->json, error);
    return r;
}
