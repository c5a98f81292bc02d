/* SPDX-License-Identifier: Apache-2.0 */
/* Messages in a queue that carry the ids of their sender. */
#include <unistd.h>

#include "sockets.h"

enum { MESSAGES = 3 };

static int pair[2];

static int setup(void)
{
    int on = 1;

    MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    MUST(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), "SO_PASSCRED");
    return messages_put(pair[0], MESSAGES, 0);
}

static int check(uint64_t n)
{
    PASS_ON(messages_take(pair[1], MESSAGES, n - 1));
    return messages_put(pair[0], MESSAGES, n);
}

const struct workload_kind kind_unix_credentials = {
    .name = "unix-credentials",
    .description = "queued messages with the ids of their sender (SO_PASSCRED)",
    .flags = KIND_REFUSED,
    .reason = "CRIU cannot send a queued message again in the name of its sender",
    .setup = setup,
    .check = check,
};
