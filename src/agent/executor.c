/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/channel.h"
#include "agent/escape.h"
#include "agent/operation.h"
#include "agent/order.h"
#include "agent/say.h"
#include "agent/shed.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "criu/find.h"
#include "http/printable.h"
#include "loop/loop.h"

enum { LOOK_USEC = 200000, LOG_SHOWN = 1000, STATUS_STOPPED = 0, STATUS_BROKEN = 1 };

/* One that runs. Those of an earlier agent are no children of ours and are looked at in turns. */
struct running {
    struct running *next;
    struct executor *executor;
    struct order order;
    pid_t pid; /* 0: not our child */
    struct loop_source *child;
};

struct executor {
    struct loop *loop;
    struct channel *channel;
    struct journal *journal;
    const struct agent_settings *settings;
    struct running *running;
    struct loop_source *look;
    pid_t loop_process;
};

static struct running *find_running(struct executor *executor, const char *key)
{
    for (struct running *one = executor->running; one; one = one->next) {
        if (text_equal(one->order.key, key))
            return one;
    }
    return NULL;
}

static struct running *remember(struct executor *executor, const struct order *order)
{
    struct running *one = allocate(sizeof *one);
    json_t *copy = order_to_json(order);

    one->executor = executor;
    (void)order_from_json(copy, &one->order, NULL); /* it was checked before */
    json_decref(copy);
    one->next = executor->running;
    executor->running = one;
    return one;
}

static void forget_running(struct executor *executor, struct running *one)
{
    struct running **link = &executor->running;

    while (*link != one)
        link = &(*link)->next;
    *link = one->next;
    loop_source_free(one->child);
    order_done(&one->order);
    free(one);
}

static void tell(struct executor *executor, const struct order *order, const char *state,
                 json_t *result)
{
    json_t *message =
        json_pack("{ss ss so}", "state", state, "key", order->key, "order", order_to_json(order));

    if (result)
        (void)json_object_set_new(message, "result", result);
    channel_send(executor->channel, message);
}

static json_t *result_of_failure(const struct error *error)
{
    return json_pack("{sb ss ss}", "ok", 0, "code", error->code, "message", error->message);
}

static json_t *result_of_loss(struct executor *executor, const char *key)
{
    CLEANUP(free_ptr) char *log = journal_read_log(executor->journal, key);
    CLEANUP(free_ptr) char *said = log ? printable_copy(log, strlen(log), LOG_SHOWN) : NULL;

    return json_pack("{sb ss so}", "ok", 0, "code", "operation-lost", "message",
                     json_sprintf("The process of the operation has ended without a result%s%s",
                                  said ? "; it said: " : "", said ? said : ""));
}

/* It does not run any more: what has become of it? */
static void conclude(struct executor *executor, struct running *one)
{
    json_t *result = NULL;

    if (journal_look(executor->journal, one->order.key, &result) != JOURNAL_ENDED) {
        result = result_of_loss(executor, one->order.key);
        (void)journal_end(executor->journal, one->order.key, result, NULL);
    }
    tell(executor, &one->order, "ended", result);
    forget_running(executor, one);
}

static void on_child(struct loop_source *source, pid_t pid, int status, void *context)
{
    struct running *one = context;

    (void)source;
    (void)pid;
    (void)status;
    conclude(one->executor, one);
}

/* The signals that the loop listens to are blocked here, and were in its parent. */
static void restore_signals(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* The agent may end, and its log with it. */
static int redirect(struct journal *journal, const char *key, struct error *error)
{
    CLEANUP(close_fd) int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CLEANUP(close_fd) int log = journal_open_log(journal, key, error);

    if (log < 0)
        return log;
    if (dup2(input, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        return error_set(error, "agent-journal", errno, "Can't write to the log of '%s'", key);
    return 0;
}

/* The process of an operation. It holds the lock of its entry until its end. */
static int work(struct executor *executor, const struct order *order, int lock)
{
    struct error error = ERROR_INIT;
    json_t *result;
    int r;

    restore_signals();
    journal_sign(lock);
    (void)setsid();
    r = redirect(executor->journal, order->key, &error);
    if (r == 0)
        r = escape_control_groups(&error);
    result = r == 0 ? operation_run(order, executor->settings) : result_of_failure(&error);
    r = journal_end(executor->journal, order->key, result, &error);
    if (r < 0)
        (void)fprintf(stderr, "%s\n", error.message);
    json_decref(result);
    error_done(&error);
    return r < 0;
}

static int launch(struct executor *executor, const struct order *order, struct error *error)
{
    CLEANUP(close_fd) int lock = -1;
    struct running *one;
    pid_t pid;
    int r = journal_begin(executor->journal, order, &lock, error);

    if (r < 0)
        return r;
    pid = fork();
    if (pid == 0)
        _exit(work(executor, order, lock));
    if (pid < 0) {
        journal_forget(executor->journal, order->key);
        return error_set(error, "agent-journal", errno, "Can't start a process");
    }
    one = remember(executor, order);
    one->pid = pid;
    return loop_add_process(executor->loop, pid, on_child, one, &one->child, error);
}

/* The loop believes that an operation runs. */
static void answer_unreadable(struct executor *executor, const json_t *order,
                              const struct error *error)
{
    json_t *result = result_of_failure(error);

    (void)json_object_set_new(result, "final", json_true());
    say("%s [%s]", error->message, error->code);
    channel_send(executor->channel, json_pack("{ss sO* so}", "state", "unreadable", "key",
                                              json_object_get(order, "key"), "result", result));
}

static void begin(struct executor *executor, const json_t *message)
{
    struct order order = {0};
    struct error error = ERROR_INIT;
    int r = order_from_json(json_object_get(message, "order"), &order, &error);

    if (r < 0) {
        answer_unreadable(executor, json_object_get(message, "order"), &error);
    } else if (!find_running(executor, order.key)) {
        r = launch(executor, &order, &error);
        if (r < 0)
            tell(executor, &order, "ended", result_of_failure(&error));
        else
            tell(executor, &order, "running", NULL);
    }
    order_done(&order);
    error_done(&error);
}

static void cancel(struct executor *executor, const char *key)
{
    const struct running *one = find_running(executor, key);
    pid_t pid = one ? one->pid : 0;

    if (one && !pid)
        pid = journal_process(executor->journal, key);
    if (pid > 0)
        (void)kill(pid, SIGTERM);
}

static bool is_plain_key(const char *key)
{
    return key && *key && key[0] != '.' && !strchr(key, '/') && strlen(key) <= ORDER_KEY_MAXIMUM;
}

static void on_message(json_t *message, void *context)
{
    struct executor *executor = context;
    const char *what = json_string_value(json_object_get(message, "do"));
    const char *key = json_string_value(json_object_get(message, "key"));

    if (text_equal(what, "begin"))
        begin(executor, message);
    else if (text_equal(what, "cancel") && is_plain_key(key))
        cancel(executor, key);
    else if (text_equal(what, "forget") && is_plain_key(key) && !find_running(executor, key))
        journal_forget(executor->journal, key);
}

static void on_end(const struct error *error, void *context)
{
    struct executor *executor = context;

    (void)error;
    loop_stop(executor->loop, STATUS_BROKEN);
}

static void on_loop_process(struct loop_source *source, pid_t pid, int status, void *context)
{
    struct executor *executor = context;

    (void)source;
    (void)pid;
    executor->loop_process = 0;
    loop_stop(executor->loop, WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_BROKEN);
}

static void on_stop(struct loop_source *source, const struct signalfd_siginfo *info, void *context)
{
    struct executor *executor = context;

    (void)source;
    (void)info;
    if (executor->loop_process)
        (void)kill(executor->loop_process, SIGTERM);
    else
        loop_stop(executor->loop, STATUS_STOPPED);
}

static void on_look(struct loop_source *source, uint64_t now_usec, void *context)
{
    struct executor *executor = context;
    bool more = false;

    for (struct running *one = executor->running, *next; one; one = next) {
        json_t *result = NULL;

        next = one->next;
        if (one->pid)
            continue;
        if (journal_look(executor->journal, one->order.key, &result) == JOURNAL_RUNNING)
            more = true;
        else
            conclude(executor, one);
        json_decref(result);
    }
    loop_timer_set(source, more ? now_usec + LOOK_USEC : LOOP_NEVER);
}

/* What an agent before this one has begun. */
static void recover(const struct order *order, void *context)
{
    struct executor *executor = context;
    struct running *one = remember(executor, order);
    json_t *result = NULL;

    if (journal_look(executor->journal, order->key, &result) == JOURNAL_RUNNING)
        tell(executor, order, "running", NULL);
    else
        conclude(executor, one);
    json_decref(result);
}

static void on_warm(struct loop_source *source, pid_t pid, int status, void *context)
{
    (void)pid;
    (void)status;
    (void)context;
    loop_source_free(source);
}

/* Which CRIU works here is found out by trying, and remembered until the machine restarts: done
 * now, no workload has to wait for it. Whatever is wrong the first operation will tell. */
static void warm_up(struct executor *executor)
{
    struct criu_installation found = {0};
    pid_t pid = fork();

    if (pid == 0) {
        restore_signals();
        (void)setsid();
        _exit(escape_control_groups(NULL) < 0 || criu_find(&found, NULL) < 0);
    }
    if (pid > 0)
        (void)loop_add_process(executor->loop, pid, on_warm, executor, NULL, NULL);
}

static int set_up(struct executor *executor, int fd, struct error *error)
{
    int r = loop_new(NULL, &executor->loop, error);

    if (r < 0)
        return r;
    r = channel_new(executor->loop, fd, on_message, on_end, executor, &executor->channel, error);
    if (r == 0)
        r = loop_add_signal(executor->loop, SIGTERM, on_stop, executor, NULL, error);
    if (r == 0)
        r = loop_add_signal(executor->loop, SIGINT, on_stop, executor, NULL, error);
    if (r == 0)
        r = loop_add_process(executor->loop, executor->loop_process, on_loop_process, executor,
                             NULL, error);
    if (r < 0)
        return r;
    loop_add_timer(executor->loop, 0, on_look, executor, &executor->look);
    r = journal_each(executor->journal, recover, executor, error);
    channel_send(executor->channel, json_pack("{ss}", "state", "ready"));
    warm_up(executor);
    shed_memory();
    return r;
}

int executor_run(int channel, pid_t loop_process, struct journal *journal,
                 const struct agent_settings *settings)
{
    struct executor executor = {
        .journal = journal, .settings = settings, .loop_process = loop_process};
    struct error error = ERROR_INIT;
    int status = STATUS_BROKEN;

    if (set_up(&executor, channel, &error) < 0)
        say("%s [%s]", error.message, error.code);
    else
        status = loop_run(executor.loop);
    if (executor.loop_process)
        (void)kill(executor.loop_process, SIGKILL);
    while (executor.running)
        forget_running(&executor, executor.running);
    channel_free(executor.channel);
    loop_free(executor.loop);
    error_done(&error);
    return status;
}
