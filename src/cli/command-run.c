/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/attach.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "workload/start.h"

/* A name made from the program: "/usr/bin/python3" becomes "python3", or "python3-2". */
static char *name_from_program(const char *root, const char *program)
{
    const char *slash = strrchr(program, '/');
    CLEANUP(free_ptr) char *stem = text_format("%.100s", slash ? slash + 1 : program);

    for (char *c = stem; *c; c++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
            *c = '-';
    }
    if (!*stem || strchr("._-", *stem))
        return workload_free_name(root, "workload");
    return workload_free_name(root, stem);
}

static const char **environment_of(const struct invocation *invocation)
{
    size_t count = 0;
    const char *const *texts = option_texts(invocation, "env", &count);
    const char **environment = allocate((count + 1) * sizeof *environment);

    for (size_t i = 0; i < count; i++)
        environment[i] = texts[i];
    return environment;
}

static const char **command_of(const struct invocation *invocation)
{
    const char **command = allocate((invocation->operand_count + 1) * sizeof *command);

    memcpy(command, invocation->operands, invocation->operand_count * sizeof *command);
    return command;
}

static void announce(const struct invocation *invocation, const struct workload *workload,
                     const char *log)
{
    if (invocation->json && option_flag(invocation, "detach"))
        print_json_object(stdout,
                          json_pack("{ss si ss ss}", "name", workload->name, "pid",
                                    (int)workload->main, "log", log, "stdio", workload->stdio));
    else if (option_flag(invocation, "detach"))
        (void)printf("%s\n", workload->name);
    (void)fflush(stdout);
}

int command_run(const struct invocation *invocation, struct error *error)
{
    CLEANUP(free_ptr) char *name = NULL;
    CLEANUP(free_ptr) const char **environment = environment_of(invocation);
    CLEANUP(free_ptr) const char **command = command_of(invocation);
    CLEANUP(free_ptr) char *log = NULL;
    struct workload_request request = {
        .root = invocation->root,
        .command = command,
        .environment = environment,
        .directory = option_text(invocation, "cwd"),
        .mode = option_flag(invocation, "host-pids") ? WORKLOAD_HOST_PIDS : WORKLOAD_OWN_PIDS,
        .private_shm = !option_flag(invocation, "shared-shm"),
        .own_ipc = !option_flag(invocation, "host-ipc"),
        .allow_io_uring = option_flag(invocation, "allow-io-uring"),
    };
    struct workload workload = WORKLOAD_INIT;
    struct keeper keeper = KEEPER_INIT;
    int r;

    (void)stdio_parse(option_text(invocation, "stdio"), &request.stdio);
    name = option_text(invocation, "name")
               ? text_copy(option_text(invocation, "name"))
               : name_from_program(invocation->root, invocation->operands[0]);
    request.name = name;
    log = workload_path(invocation->root, name, "log");
    if (request.mode == WORKLOAD_HOST_PIDS)
        request.private_shm = request.own_ipc = false;
    r = workload_start(&request, &workload, &keeper, error);
    if (r < 0)
        return r;
    announce(invocation, &workload, log);
    if (!option_flag(invocation, "detach"))
        r = attach(invocation->root, &workload, &keeper, log, 0, error);
    keeper_done(&keeper);
    workload_done(&workload);
    return r;
}
