/* SPDX-License-Identifier: Apache-2.0 */
#include "fake-executor.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "agent/channel.h"
#include "basic/text.h"
#include "fake-server.h"

struct entry {
    struct entry *next;
    struct fake_executor *executor;
    struct order order;
    json_t *result; /* NULL: it runs */
    bool cancelled;
    struct loop_source *timer;
};

struct fake_executor {
    struct fake_executor_options options;
    uint64_t random;
    struct entry *entries;
    struct channel *channel;
};

struct fake_executor *fake_executor_new(const struct fake_executor_options *options)
{
    struct fake_executor *executor = allocate(sizeof *executor);

    executor->options = *options;
    executor->random = options->seed;
    return executor;
}

static void forget(struct entry *entry)
{
    struct entry **link = &entry->executor->entries;

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    loop_source_free(entry->timer);
    order_done(&entry->order);
    json_decref(entry->result);
    free(entry);
}

void fake_executor_free(struct fake_executor *executor)
{
    fake_executor_disconnect(executor);
    while (executor->entries)
        forget(executor->entries);
    free(executor);
}

void fake_executor_calm(struct fake_executor *executor)
{
    executor->options.lose = 0;
}

const struct order *fake_executor_order(const struct fake_executor *executor, size_t place)
{
    const struct entry *entry = executor->entries;

    while (entry && place-- > 0)
        entry = entry->next;
    return entry ? &entry->order : NULL;
}

static struct entry *find(const struct fake_executor *executor, const char *key)
{
    struct entry *entry = executor->entries;

    while (entry && !text_equal(entry->order.key, key))
        entry = entry->next;
    return entry;
}

static void tell(struct fake_executor *executor, const struct order *order, const char *state,
                 json_t *result)
{
    json_t *message =
        json_pack("{ss ss so}", "state", state, "key", order->key, "order", order_to_json(order));

    if (result)
        (void)json_object_set(message, "result", result);
    if (executor->channel)
        channel_send(executor->channel, message);
    else
        json_decref(message);
}

static json_t *failure(const char *code)
{
    return json_pack("{sb ss ss}", "ok", 0, "code", code, "message", "made up");
}

static void on_timer(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct entry *entry = context;
    struct fake_executor *executor = entry->executor;
    const struct fake_executor_options *options = &executor->options;

    (void)source;
    (void)now_usec;
    entry->result = fake_random(&executor->random) % 1000 < options->lose
                        ? failure("operation-lost")
                        : options->carry_out(&entry->order, entry->cancelled, options->context);
    options->ended(&entry->order, entry->result, options->context);
    tell(executor, &entry->order, "ended", entry->result);
}

static void begin(struct fake_executor *executor, const json_t *message)
{
    const struct fake_executor_options *options = &executor->options;
    struct order order = {0};
    struct entry *entry;

    if (order_from_json(json_object_get(message, "order"), &order, NULL) < 0)
        abort();
    entry = find(executor, order.key);
    if (entry) {
        json_t *result = failure("agent-journal"); /* as of the directory that is there */

        if (entry->result)
            tell(executor, &order, "ended", result);
        json_decref(result);
        order_done(&order);
        return;
    }
    entry = allocate(sizeof *entry);
    *entry = (struct entry){.next = executor->entries, .executor = executor, .order = order};
    executor->entries = entry;
    options->began(&entry->order, options->context);
    loop_add_timer(options->loop,
                   loop_now(options->loop) + fake_random(&executor->random) % options->most_usec,
                   on_timer, entry, &entry->timer);
    tell(executor, &entry->order, "running", NULL);
}

/* Most end soon when they are asked to. */
static void cancel(struct fake_executor *executor, struct entry *entry)
{
    entry->cancelled = true;
    if (fake_random(&executor->random) % 4 > 0)
        loop_timer_set(entry->timer,
                       loop_now(executor->options.loop) + fake_random(&executor->random) % 200000);
}

static void on_message(json_t *message, void *context)
{
    struct fake_executor *executor = context;
    const char *what = json_string_value(json_object_get(message, "do"));
    struct entry *entry = find(executor, json_string_value(json_object_get(message, "key")));

    if (text_equal(what, "begin"))
        begin(executor, message);
    else if (text_equal(what, "cancel") && entry && !entry->result)
        cancel(executor, entry);
    else if (text_equal(what, "forget") && entry && entry->result)
        forget(entry);
}

static void on_end(const struct error *error, void *context)
{
    (void)error;
    (void)context;
}

/* A directory is read in any order. */
static void shuffle(struct fake_executor *executor)
{
    struct entry *mixed = NULL;

    while (executor->entries) {
        struct entry *entry = executor->entries, **link = &mixed;

        executor->entries = entry->next;
        while (*link && fake_random(&executor->random) % 2)
            link = &(*link)->next;
        entry->next = *link;
        *link = entry;
    }
    executor->entries = mixed;
}

int fake_executor_connect(struct fake_executor *executor)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
        channel_new(executor->options.loop, pair[0], on_message, on_end, executor,
                    &executor->channel, NULL) < 0)
        abort();
    shuffle(executor);
    for (struct entry *entry = executor->entries; entry; entry = entry->next)
        tell(executor, &entry->order, entry->result ? "ended" : "running", entry->result);
    channel_send(executor->channel, json_pack("{ss}", "state", "ready"));
    return pair[1];
}

void fake_executor_disconnect(struct fake_executor *executor)
{
    channel_free(executor->channel);
    executor->channel = NULL;
}
