/* SPDX-License-Identifier: Apache-2.0 */
/* Sequenced-packet pairs: message borders survive, options too. */
#include <unistd.h>

#include "sockets.h"

enum { MESSAGES = 5 };

static int pair[2];
static int labelled[2]; /* its messages carry the sender's ids */

static int setup(void)
{
    int on = 1;

    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, labelled), "socketpair");
    MUST(setsockopt(labelled[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), "SO_PASSCRED");
    return messages_put(pair[0], MESSAGES, 0);
}

static int check(uint64_t n)
{
    EQUAL("SO_TYPE", SOCK_SEQPACKET, get_option(pair[0], SOL_SOCKET, SO_TYPE));
    EQUAL("SO_PASSCRED", 1, get_option(labelled[1], SOL_SOCKET, SO_PASSCRED));
    EQUAL("no SO_PASSCRED", 0, get_option(pair[0], SOL_SOCKET, SO_PASSCRED));
    PASS_ON(messages_take(pair[1], MESSAGES, n - 1));
    PASS_ON(messages_put(labelled[0], MESSAGES, n));
    PASS_ON(messages_take(labelled[1], MESSAGES, n));
    return messages_put(pair[0], MESSAGES, n);
}

const struct workload_kind kind_unix_seqpacket = {
    .name = "unix-seqpacket",
    .description = "unix sequenced-packet pair with queued messages",
    .setup = setup,
    .check = check,
};
