/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "basic/cleanup.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "capture/capture.h"
#include "cli/container-choice.h"
#include "cli/invocation.h"
#include "cli/output.h"

static enum tcp_policy tcp_of(const struct invocation *invocation)
{
    const char *word = option_text(invocation, "tcp");

    if (text_equal(word, "close"))
        return TCP_CLOSE;
    return text_equal(word, "refuse") ? TCP_REFUSE : TCP_KEEP;
}

static void announce(const struct invocation *invocation, const struct capture_result *result)
{
    if (invocation->json) {
        print_json_object(stdout,
                          json_pack("{ss ss ss sI sf sf sf sO}", "id", result->id, "version",
                                    result->version, "path", result->path, "bytes",
                                    (json_int_t)result->bytes, "seconds", result->seconds,
                                    "frozen_seconds", result->frozen_seconds, "cuda_seconds",
                                    result->cuda_seconds, "phases", result->phases));
        return;
    }
    CLEANUP(free_ptr) char *size = text_bytes(result->bytes);
    CLEANUP(free_ptr) char *time = text_duration(result->seconds);
    (void)printf("%s@%s  %s in %s\n", result->id, result->version, size, time);
}

int command_checkpoint(const struct invocation *invocation, struct error *error)
{
    struct capture_request request = {
        .root = invocation->root,
        .name = operand_at(invocation, 0),
        .pid = (pid_t)option_number(invocation, "pid"),
        .id = option_text(invocation, "id"),
        .leave_running = option_flag(invocation, "leave-running"),
        .tcp = tcp_of(invocation),
        .timeout_seconds = (unsigned)(option_seconds(invocation, "timeout") + 0.999),
        .ghost_limit = option_number(invocation, "ghost-limit"),
        .skip_rootfs = option_flag(invocation, "no-rootfs"),
        .keep_logs = option_flag(invocation, "keep-logs"),
        .reporter = invocation->reporter,
    };
    struct container_choice choice = {0};
    struct capture_result result = {0};
    size_t exclusions;
    int r = 0;

    request.exclusions = option_texts(invocation, "exclude", &exclusions);
    if (container_is_chosen(invocation))
        r = container_choice_find(invocation, &choice, error);
    if (r < 0)
        return r;
    if (choice.pid > 0) {
        request.pid = choice.pid;
        request.container = choice.facts;
        request.id = request.id ? request.id : container_choice_id(&choice);
    }
    interrupt_catch();
    r = capture_run(&request, &result, error);
    container_choice_done(&choice);
    if (r < 0)
        return r;
    announce(invocation, &result);
    capture_result_done(&result);
    return 0;
}
