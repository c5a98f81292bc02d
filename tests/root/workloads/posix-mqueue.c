/* SPDX-License-Identifier: Apache-2.0 */
/* A POSIX message queue with a message in it. */
#include <fcntl.h>
#include <mqueue.h>
#include <string.h>

#include "common.h"

static mqd_t queue;

static int setup(void)
{
    struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 64};
    struct path_name name = unique_name("/");
    uint64_t zero = 0;

    queue = mq_open(name.text, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attributes);
    if (queue < 0 && errno == ENOSYS)
        return skip_kind("no message queues here");
    MUST(queue, "mq_open");
    MUST(mq_unlink(name.text), "mq_unlink");
    MUST(mq_send(queue, (const char *)&zero, sizeof(zero), 1), "mq_send");
    return 0;
}

static int check(uint64_t n)
{
    char buffer[64];
    uint64_t seen = 0;

    MUST(mq_receive(queue, buffer, sizeof(buffer), NULL), "mq_receive");
    memcpy(&seen, buffer, sizeof(seen));
    EQUAL("message", n - 1, seen);
    MUST(mq_send(queue, (const char *)&n, sizeof(n), 1), "mq_send");
    return 0;
}

const struct workload_kind kind_posix_mqueue = {
    .name = "posix-mqueue",
    .description = "POSIX message queue held open",
    .flags = KIND_REFUSED,
    .reason = "the messages in a POSIX queue cannot be listed without taking them",
    .setup = setup,
    .check = check,
};
