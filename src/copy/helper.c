/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/helper.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/interrupt.h"
#include "basic/leaf.h"
#include "basic/text.h"

enum { INTERRUPT_CHECK_MSEC = 200 };

enum message_kind { MESSAGE_PROGRESS = 1, MESSAGE_END };

/* What the child says. Progress is the part up to `result`, the end is all of it. */
struct message {
    enum message_kind kind;
    uint64_t done;
    uint64_t total;
    int result;
    int number;
    char code[64];
    char text[2048];
};

struct helper {
    struct leaf leaf;
    bool ended; /* the last message is here, or the socket is at its end */
    bool told;  /* `end` is valid */
    struct message end;
};

struct assignment {
    helper_work work;
    void *context;
    bool reports;
};

static void report(void *context, uint64_t done, uint64_t total)
{
    struct message message = {.kind = MESSAGE_PROGRESS, .done = done, .total = total};

    /* Nobody waits for progress: what doesn't fit is left out. */
    (void)send(*(int *)context, &message, offsetof(struct message, result),
               MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void text_fit(char *target, size_t size, const char *text)
{
    size_t length = strlen(text);

    if (length >= size)
        length = size - 1;
    memcpy(target, text, length);
    target[length] = 0;
}

static int child_main(int socket, void *context)
{
    struct assignment *assignment = context;
    struct progress progress = {.update = report, .context = &socket};
    struct message message = {.kind = MESSAGE_END};
    struct error error = ERROR_INIT;
    ssize_t n;

    message.result =
        assignment->work(assignment->context, assignment->reports ? &progress : NULL, &error);
    message.number = error.number;
    text_fit(message.code, sizeof message.code, error.code ? error.code : "");
    text_fit(message.text, sizeof message.text, error.message ? error.message : "");
    error_done(&error);
    do
        n = send(socket, &message, sizeof message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof message ? 0 : 1;
}

int helper_start(helper_work work, void *context, bool reports, struct helper **ret_helper,
                 struct error *error)
{
    struct assignment assignment = {.work = work, .context = context, .reports = reports};
    struct helper *helper = allocate(sizeof *helper);
    int r;

    helper->leaf = LEAF_INIT;
    r = leaf_start(child_main, &assignment, true, &helper->leaf, error);
    if (r < 0) {
        free(helper);
        return r;
    }
    *ret_helper = helper;
    return 0;
}

int helper_fd(const struct helper *helper)
{
    return helper->leaf.socket;
}

/* 1: go on, 0: nothing there now. */
static int take_message(struct helper *helper, const struct progress *progress)
{
    struct message message = {0};
    ssize_t n = recv(helper->leaf.socket, &message, sizeof message, MSG_DONTWAIT);

    if (n < 0 && errno == EINTR)
        return 1;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n <= 0) {
        helper->ended = true;
    } else if (message.kind == MESSAGE_END && n == (ssize_t)sizeof message) {
        helper->ended = helper->told = true;
        helper->end = message;
    } else {
        progress_update(progress, message.done, message.total);
    }
    return 1;
}

int helper_poll(struct helper *helper, const struct progress *progress)
{
    while (!helper->ended && take_message(helper, progress) > 0)
        ;
    return helper->ended;
}

int helper_finish(struct helper *helper, const struct progress *progress, struct error *error)
{
    const struct catalogue_entry *entry;
    const struct message *end = &helper->end;

    while (!helper->ended) {
        struct pollfd item = {.fd = helper->leaf.socket, .events = POLLIN};
        int r = interrupt_check(error);

        if (r < 0) {
            leaf_done(&helper->leaf);
            return r;
        }
        (void)poll(&item, 1, INTERRUPT_CHECK_MSEC);
        (void)helper_poll(helper, progress);
    }
    (void)leaf_finish(&helper->leaf);
    if (!helper->told)
        return error_set(error, "helper-died", ECHILD, "A helper process ended before its work");
    if (end->result >= 0)
        return end->result;
    entry = catalogue_find(end->code);
    if (error && end->code[0]) {
        (void)error_set(error, entry ? entry->code : "system", 0, "%s", end->text);
        error->number = end->number;
    }
    return end->result;
}

void helper_free(struct helper *helper)
{
    if (!helper)
        return;
    leaf_done(&helper->leaf);
    free(helper);
}

int helper_run(helper_work work, void *context, const struct progress *progress,
               struct error *error)
{
    struct helper *helper = NULL;
    int r = helper_start(work, context, progress != NULL, &helper, error);

    if (r < 0)
        return r;
    r = helper_finish(helper, progress, error);
    helper_free(helper);
    return r;
}

void *helper_memory(size_t size)
{
    void *memory =
        mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

void helper_memory_free(void *memory, size_t size)
{
    if (memory)
        (void)munmap(memory, size ? size : 1);
}
