/* SPDX-License-Identifier: Apache-2.0 */
/* A System V message queue with messages of several types. */
#include <sys/ipc.h>
#include <sys/msg.h>

#include "common.h"

enum { MESSAGES = 6 };

struct letter {
    long type;
    unsigned char body[500];
};

static int id;

static int post(uint64_t n)
{
    struct letter letter;

    for (unsigned int i = 0; i < MESSAGES; i++) {
        size_t size = 40 + 70 * (size_t)i;

        letter.type = 1 + i % 3;
        pattern_fill(letter.body, size, n + i);
        MUST(msgsnd(id, &letter, size, IPC_NOWAIT), "msgsnd");
    }
    return 0;
}

static int setup(void)
{
    MUST(id = msgget(IPC_PRIVATE, IPC_CREAT | 0600), "msgget");
    return post(0);
}

static int check(uint64_t n)
{
    struct letter letter;

    /* By type, not in the order of sending. */
    for (unsigned int type = 3; type >= 1; type--)
        for (unsigned int i = type - 1; i < MESSAGES; i += 3) {
            ssize_t got;

            MUST(got = msgrcv(id, &letter, sizeof(letter.body), type, IPC_NOWAIT), "msgrcv");
            EQUAL("size of a message", 40 + 70 * i, got);
            PASS_ON(pattern_verify("message", letter.body, (size_t)got, n - 1 + i));
        }
    return post(n);
}

static void stop(void)
{
    (void)msgctl(id, IPC_RMID, NULL);
}

const struct workload_kind kind_sysv_msg = {
    .name = "sysv-msg",
    .description = "System V message queue with messages",
    .flags = KIND_NAMESPACES,
    .reason = "System V objects are carried over only with an IPC namespace of their own",
    .setup = setup,
    .check = check,
    .stop = stop,
};
