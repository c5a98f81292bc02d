/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: what runs, what has ended and what was lost, seen by a later agent. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/journal.h"
#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

static char base[] = "/tmp/journal-test-XXXXXX";

static int make_base(void **state)
{
    (void)state;
    memcpy(base + strlen(base) - 6, "XXXXXX", 6);
    return mkdtemp(base) ? 0 : -1;
}

static int remove_base(void **state)
{
    (void)state;
    return directory_remove_all(AT_FDCWD, base);
}

static const struct order order = {.kind = ORDER_CAPTURE,
                                   .key = (char *)"u.main.capture.1",
                                   .container_id = (char *)"c1",
                                   .id = (char *)"abc"};

static struct journal *open_journal(void)
{
    struct journal *journal = NULL;
    struct error error = ERROR_INIT;

    if (journal_open(base, &journal, &error) < 0)
        fail_msg("%s", error.message);
    return journal;
}

/* A process that holds the lock until it is killed. */
static pid_t run_operation(struct journal *journal)
{
    int lock = -1;
    pid_t pid;

    assert_int_equal(journal_begin(journal, &order, &lock, NULL), 0);
    pid = fork();
    if (pid == 0) {
        journal_sign(lock);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            (void)pause();
    }
    (void)close(lock);
    return pid;
}

static void end_operation(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void count(const struct order *found, void *context)
{
    assert_string_equal(found->key, order.key);
    assert_string_equal(found->id, "abc");
    ++*(int *)context;
}

static void test_running_then_lost(void **state)
{
    struct journal *journal = open_journal();
    pid_t pid = run_operation(journal);
    json_t *result = NULL;
    int found = 0;

    (void)state;
    journal_free(journal); /* the agent ends, another comes */
    journal = open_journal();
    assert_int_equal(journal_each(journal, count, &found, NULL), 0);
    assert_int_equal(found, 1);
    assert_int_equal(journal_look(journal, order.key, &result), JOURNAL_RUNNING);
    while (journal_process(journal, order.key) == 0)
        (void)usleep(1000); /* it has yet to sign */
    assert_int_equal(journal_process(journal, order.key), pid);
    end_operation(pid);
    assert_int_equal(journal_look(journal, order.key, &result), JOURNAL_LOST);
    assert_int_equal(journal_process(journal, order.key), 0);
    journal_forget(journal, order.key);
    found = 0;
    assert_int_equal(journal_each(journal, count, &found, NULL), 0);
    assert_int_equal(found, 0);
    journal_free(journal);
}

static void test_ended(void **state)
{
    struct journal *journal = open_journal();
    pid_t pid = run_operation(journal);
    json_t *result = json_pack("{sb}", "ok", 1), *read = NULL;

    (void)state;
    assert_int_equal(journal_end(journal, order.key, result, NULL), 0);
    end_operation(pid);
    assert_int_equal(journal_look(journal, order.key, &read), JOURNAL_ENDED);
    assert_true(json_equal(result, read));
    json_decref(result);
    json_decref(read);
    journal_free(journal);
}

static void test_twice(void **state)
{
    struct journal *journal = open_journal();
    int lock = -1, other = -1;

    (void)state;
    assert_int_equal(journal_begin(journal, &order, &lock, NULL), 0);
    assert_true(journal_begin(journal, &order, &other, NULL) < 0);
    assert_int_equal(other, -1);
    (void)close(lock);
    journal_free(journal);
}

static void test_one_agent(void **state)
{
    struct journal *journal = open_journal(), *other = NULL;
    struct error error = ERROR_INIT;
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0)
        _exit(journal_open(base, &other, &error) < 0 && error_is(&error, "agent-running") ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    journal_free(journal);
}

static void test_rubbish(void **state)
{
    CLEANUP(free_ptr) char *entry = text_format("%s/operations/rubbish", base);
    CLEANUP(free_ptr) char *file = text_format("%s/order.json", entry);
    struct journal *journal = open_journal();
    int found = 0;

    (void)state;
    assert_int_equal(directory_create_all(entry, 0700), 0);
    assert_int_equal(file_write_atomic(AT_FDCWD, file, "{", 1), 0);
    assert_int_equal(journal_each(journal, count, &found, NULL), 0);
    assert_int_equal(found, 0);
    assert_int_not_equal(access(entry, F_OK), 0);
    journal_free(journal);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_base, remove_base)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_running_then_lost), TEST(test_ended),   TEST(test_twice),
        TEST(test_one_agent),         TEST(test_rubbish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
