/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "basic/cleanup.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "cli/attach.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "restore/restore.h"

static enum restore_pids pids_of(const struct invocation *invocation)
{
    const char *word = option_text(invocation, "pids");

    if (!word)
        return RESTORE_PIDS_DEFAULT;
    return text_equal(word, "same") ? RESTORE_PIDS_SAME : RESTORE_PIDS_NEW;
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
        .reporter = invocation->reporter,
    };
    struct restore_result result = {0};
    struct keeper keeper = KEEPER_INIT;
    int r;

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
