/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/cleanup.h"
#include "basic/installation.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "cli/attach.h"
#include "cli/container-choice.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "container/own.h"
#include "restore/into-container.h"
#include "restore/restore.h"

static enum restore_pids pids_of(const struct invocation *invocation)
{
    const char *word = option_text(invocation, "pids");

    if (!word)
        return RESTORE_PIDS_DEFAULT;
    return text_equal(word, "same") ? RESTORE_PIDS_SAME : RESTORE_PIDS_NEW;
}

static int log_level_of(const struct invocation *invocation)
{
    return option_text(invocation, "criu-log-level")[0] - '0';
}

/* What the command line says of the target, which is checked before anything is looked at. */
static int choose_target(const struct invocation *invocation,
                         struct container_restore_request *request,
                         struct container_choice *ret_choice, struct error *error)
{
    int r;

    if (request->marker && request->marker[0] != '/')
        return error_set(error, "usage", EINVAL, "--marker takes a path that begins with a slash");
    if (request->own &&
        (option_given(invocation, "container") || option_given(invocation, "container-pid")))
        return error_set(error, "usage", EINVAL, "--here is a container already; name no other");
    if (!request->own) {
        r = container_choice_find(invocation, ret_choice, error);
        request->target = ret_choice->pid;
        request->image_digest =
            json_string_value(json_object_get(ret_choice->facts, "image_digest"));
        return r;
    }
    request->target = OWN_CONTAINER_FIRST;
    return own_container_prepare(installation_run_directory(), error);
}

static void announce(const struct invocation *invocation, const struct restore_result *result)
{
    const struct workload *workload = &result->workload;

    if (invocation->json && option_flag(invocation, "detach")) {
        print_json_object(stdout, json_pack("{ss si ss ss sf sO}", "name", workload->name, "pid",
                                            (int)workload->main, "snapshot", result->reference,
                                            "log", result->log, "seconds", result->seconds,
                                            "phases", result->phases));
    } else if (option_flag(invocation, "detach")) {
        CLEANUP(free_ptr) char *time = text_duration(result->seconds);

        (void)printf("%s  process %d, from %s in %s\n", workload->name, (int)workload->main,
                     result->reference, time);
    }
    (void)fflush(stdout);
}

static void announce_container(const struct invocation *invocation,
                               const struct container_restore_result *result)
{
    CLEANUP(free_ptr) char *time = text_duration(result->seconds);

    if (invocation->json)
        print_json_object(stdout, json_pack("{si si ss sf sO sO?}", "pid", (int)result->pid,
                                            "container_pid", (int)result->inner_pid, "snapshot",
                                            result->reference, "seconds", result->seconds, "phases",
                                            result->phases, "helper", result->helper));
    else
        (void)printf("process %d, from %s in %s\n", (int)result->pid, result->reference, time);
    (void)fflush(stdout);
}

static int restore_into_container(const struct invocation *invocation, struct error *error)
{
    struct container_restore_request request = {
        .root = invocation->root,
        .reference = operand_at(invocation, 0),
        .any_image = option_flag(invocation, "any-image"),
        .device_map = option_text(invocation, "device-map"),
        .skip_verify = option_flag(invocation, "no-verify"),
        .timeout_seconds = (unsigned)(option_seconds(invocation, "timeout") + 0.999),
        .logs = option_text(invocation, "logs"),
        .criu_log = option_text(invocation, "criu-log"),
        .log_level = log_level_of(invocation),
        .own = option_flag(invocation, "here"),
        .marker = option_text(invocation, "marker"),
        .reporter = invocation->reporter,
    };
    struct container_restore_result result = {0};
    struct container_choice choice = {0};
    int r = choose_target(invocation, &request, &choice, error);

    if (r < 0)
        return r;
    interrupt_catch();
    r = container_restore_run(&request, &result, error);
    container_choice_done(&choice);
    if (r < 0)
        return r;
    announce_container(invocation, &result);
    container_restore_result_done(&result);
    return 0;
}

int command_restore(const struct invocation *invocation, struct error *error)
{
    const char *tcp = option_text(invocation, "tcp");
    struct restore_request request = {
        .root = invocation->root,
        .reference = operand_at(invocation, 0),
        .name = option_text(invocation, "name"),
        .pids = pids_of(invocation),
        .own_network = text_equal(option_text(invocation, "network"), "own"),
        .tcp_given = tcp != NULL,
        .tcp = text_equal(tcp, "close") ? TCP_CLOSE : TCP_KEEP,
        .device_map = option_text(invocation, "device-map"),
        .skip_verify = option_flag(invocation, "no-verify"),
        .timeout_seconds = (unsigned)(option_seconds(invocation, "timeout") + 0.999),
        .logs = option_text(invocation, "logs"),
        .criu_log = option_text(invocation, "criu-log"),
        .log_level = log_level_of(invocation),
        .reporter = invocation->reporter,
    };
    struct restore_result result = {0};
    struct keeper keeper = KEEPER_INIT;
    int r;

    if (container_is_chosen(invocation))
        return restore_into_container(invocation, error);
    if (option_given(invocation, "marker"))
        return error_set(error, "usage", EINVAL, "--marker is for a restore into a container");
    interrupt_catch();
    r = restore_run(&request, &result, &keeper, error);
    if (r < 0)
        return r;
    announce(invocation, &result);
    if (!option_flag(invocation, "detach"))
        r = attach(invocation->root, &result.workload, &keeper, result.log, result.log_start,
                   error);
    keeper_done(&keeper);
    restore_result_done(&result);
    return r;
}
