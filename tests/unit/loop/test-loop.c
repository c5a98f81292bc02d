/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/loop.h"
#include "loop/timer-heap.h"

struct test {
    struct loop *loop;
    struct loop_source *source, *other;
    unsigned calls;
    int status;
    char order[64];
};

static struct loop *make_loop(const struct loop_clock *clock)
{
    struct loop *loop = NULL;

    assert_int_equal(loop_new(clock, &loop, NULL), 0);
    return loop;
}

static void test_heap_is_in_order(void **state)
{
    struct timer_heap heap = {0};
    struct timer_entry entries[100] = {0};
    uint64_t last = 0, last_order = 0;
    unsigned random = 1, count = 0;

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        random = random * 1103515245 + 12345;
        if (i % 7 == 6)
            timer_heap_remove(&heap, &entries[random / 65536 % 100]);
        else
            timer_heap_set(&heap, &entries[random / 65536 % 100], random / 1024 % 20);
    }
    assert_true(heap.count > 20);
    for (struct timer_entry *first; (first = timer_heap_first(&heap)) != NULL; count++) {
        assert_true(first->at > last || (first->at == last && first->order >= last_order));
        last = first->at;
        last_order = first->order;
        timer_heap_remove(&heap, first);
        assert_int_equal(first->place, 0);
    }
    assert_true(count > 20);
    timer_heap_done(&heap);
}

static void add_letter(struct loop_source *source, uint64_t now, void *context)
{
    struct test *test = context;

    (void)source;
    test->order[test->calls++] = (char)('a' + now / 1000000);
}

static void test_virtual_time_jumps(void **state)
{
    struct virtual_clock clock = {.date_usec = 5};
    struct loop_clock as_clock = virtual_clock_of(&clock);
    struct test test = {.loop = make_loop(&as_clock)};
    struct loop_source *never;

    (void)state;
    loop_add_timer(test.loop, 3000000, add_letter, &test, NULL);
    loop_add_timer(test.loop, 1000000, add_letter, &test, NULL);
    loop_add_timer(test.loop, LOOP_NEVER, add_letter, &test, &never);
    loop_add_timer(test.loop, 2000000, add_letter, &test, NULL);
    assert_int_equal(loop_run(test.loop), 0);
    assert_string_equal(test.order, "bcd");
    assert_int_equal(loop_now(test.loop), 3000000);
    assert_int_equal(loop_date(test.loop), 3000005);
    assert_true(loop_timer_at(never) == LOOP_NEVER);
    loop_free(test.loop);
}

static void free_both(struct loop_source *source, int fd, uint32_t events, void *context)
{
    struct test *test = context;

    (void)source;
    (void)fd;
    assert_true(events & EPOLLIN);
    test->calls++;
    loop_source_free(test->source);
    loop_source_free(test->other);
    loop_source_free(test->other);
}

static void test_sources_freed_by_each_other(void **state)
{
    struct test test = {.loop = make_loop(NULL)};
    int one[2], two[2];

    (void)state;
    assert_int_equal(pipe(one) | pipe(two), 0);
    assert_int_equal(write(one[1], "x", 1) + write(two[1], "x", 1), 2);
    assert_int_equal(loop_add_fd(test.loop, one[0], EPOLLIN, free_both, &test, &test.source, NULL),
                     0);
    assert_int_equal(loop_add_fd(test.loop, two[0], EPOLLIN, free_both, &test, &test.other, NULL),
                     0);
    assert_int_equal(loop_run(test.loop), 0); /* ends: there is no source left */
    assert_int_equal(test.calls, 1);
    loop_free(test.loop);
    for (int i = 0; i < 2; i++) {
        (void)close(one[i]);
        (void)close(two[i]);
    }
}

static void stop_with_signal(struct loop_source *source, const struct signalfd_siginfo *info,
                             void *context)
{
    struct test *test = context;

    (void)source;
    loop_stop(test->loop, (int)info->ssi_signo);
}

static void test_signal_stops(void **state)
{
    struct test test = {.loop = make_loop(NULL)};

    (void)state;
    assert_int_equal(loop_add_signal(test.loop, SIGUSR1, stop_with_signal, &test, NULL, NULL), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(loop_run(test.loop), SIGUSR1);
    loop_free(test.loop);
}

static void note_end(struct loop_source *source, pid_t pid, int status, void *context)
{
    struct test *test = context;

    (void)pid;
    test->status = status;
    test->calls++;
    loop_source_free(source);
}

static void test_process_ends(void **state)
{
    struct test test = {.loop = make_loop(NULL)};
    struct error error = ERROR_INIT;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(7);
    assert_int_equal(loop_add_process(test.loop, pid, note_end, &test, &test.source, NULL), 0);
    assert_int_equal(loop_run(test.loop), 0);
    assert_int_equal(test.calls, 1);
    assert_int_equal(WEXITSTATUS(test.status), 7);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
    assert_int_equal(loop_add_process(test.loop, pid, note_end, &test, NULL, &error), -ESRCH);
    assert_true(error_is(&error, "loop-system"));
    error_done(&error);
    loop_free(test.loop);
}

static void set_again(struct loop_source *source, uint64_t now, void *context)
{
    struct test *test = context;

    if (++test->calls < 5)
        loop_timer_set(source, now);
}

/* A timer that sets itself for now gets one turn a round, so that descriptors are not starved. */
static void test_timer_for_now_waits_a_round(void **state)
{
    struct virtual_clock clock = {0};
    struct loop_clock as_clock = virtual_clock_of(&clock);
    struct test test = {.loop = make_loop(&as_clock)};

    (void)state;
    loop_add_timer(test.loop, 0, set_again, &test, NULL);
    assert_true(loop_step(test.loop));
    assert_int_equal(test.calls, 1);
    (void)loop_run(test.loop);
    assert_int_equal(test.calls, 5);
    assert_false(loop_step(test.loop));
    loop_free(test.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap_is_in_order),
        cmocka_unit_test(test_virtual_time_jumps),
        cmocka_unit_test(test_sources_freed_by_each_other),
        cmocka_unit_test(test_signal_stops),
        cmocka_unit_test(test_process_ends),
        cmocka_unit_test(test_timer_for_now_waits_a_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
