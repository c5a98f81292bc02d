/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "cli/invocation.h"

enum { WORDS = 16 };

#define ARGUMENTS(...) ((const char *const[WORDS]){"snapshotctl", __VA_ARGS__})

static int parse(const char *const *argv, struct invocation *invocation, struct error *error)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    return invocation_parse(argc, argv, invocation, error);
}

static struct invocation must(const char *const *argv)
{
    struct invocation invocation = INVOCATION_INIT;
    struct error error = ERROR_INIT;

    if (parse(argv, &invocation, &error) < 0)
        fail_msg("%s", error.message);
    return invocation;
}

static void must_fail(const char *const *argv, const char *part)
{
    struct invocation invocation = INVOCATION_INIT;
    struct error error = ERROR_INIT;

    assert_true(parse(argv, &invocation, &error) < 0);
    assert_string_equal(error.code, "usage");
    if (!strstr(error.message, part))
        fail_msg("'%s' lacks '%s'", error.message, part);
    error_done(&error);
}

static void values_in_every_form(void **state)
{
    const char *const *const forms[] = {
        ARGUMENTS("stop", "a", "--timeout", "1m"), ARGUMENTS("stop", "--timeout=1m", "a"),
        ARGUMENTS("stop", "-t", "1m", "a"),        ARGUMENTS("stop", "-t1m", "a"),
        ARGUMENTS("stop", "-t=1m", "--", "a"),     ARGUMENTS("-v", "stop", "-vt1m", "a"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct invocation invocation = must(forms[i]);

        assert_int_equal((int)option_seconds(&invocation, "timeout"), 60);
        assert_int_equal(invocation.operand_count, 1);
        assert_string_equal(operand_at(&invocation, 0), "a");
        assert_null(operand_at(&invocation, 1));
        invocation_done(&invocation);
    }
}

static void defaults(void **state)
{
    struct invocation invocation = must(ARGUMENTS("checkpoint", "a"));

    (void)state;
    assert_string_equal(option_text(&invocation, "tcp"), "keep");
    assert_true(option_number(&invocation, "ghost-limit") >= 1 << 20);
    assert_true(option_seconds(&invocation, "timeout") >= 1);
    assert_false(option_flag(&invocation, "leave-running"));
    assert_false(option_given(&invocation, "tcp"));
    assert_null(option_text(&invocation, "id"));
    assert_int_equal(option_number(&invocation, "pid"), 0);
    invocation_done(&invocation);
}

static void a_workload_keeps_its_options(void **state)
{
    struct invocation invocation =
        must(ARGUMENTS("run", "-d", "--env", "A=1", "--env=B=2=3", "prog", "--name", "x", "--"));
    const char *const *texts;
    size_t count;

    (void)state;
    assert_int_equal(invocation.operand_count, 4);
    assert_string_equal(operand_at(&invocation, 1), "--name");
    assert_string_equal(operand_at(&invocation, 3), "--");
    assert_false(option_given(&invocation, "name"));
    texts = option_texts(&invocation, "env", &count);
    assert_int_equal(count, 2);
    assert_string_equal(texts[0], "A=1");
    assert_string_equal(texts[1], "B=2=3");
    invocation_done(&invocation);

    invocation = must(ARGUMENTS("run", "--", "-x", "--detach"));
    assert_int_equal(invocation.operand_count, 2);
    assert_false(option_flag(&invocation, "detach"));
    invocation_done(&invocation);
}

static void the_root(void **state)
{
    struct invocation invocation;

    (void)state;
    (void)unsetenv("STASIS_ROOT");
    invocation = must(ARGUMENTS("list"));
    assert_string_equal(invocation.root, "/var/lib/stasis");
    invocation_done(&invocation);
    (void)setenv("STASIS_ROOT", "/from/environment", 1);
    invocation = must(ARGUMENTS("list"));
    assert_string_equal(invocation.root, "/from/environment");
    invocation_done(&invocation);
    invocation = must(ARGUMENTS("--root", "/given", "list"));
    assert_string_equal(invocation.root, "/given");
    invocation_done(&invocation);
    (void)unsetenv("STASIS_ROOT");
}

static void mistakes(void **state)
{
    (void)state;
    must_fail(ARGUMENTS("chekpoint"), "did you mean 'checkpoint'");
    must_fail(ARGUMENTS("frobnicate"), "Unknown command 'frobnicate'");
    must_fail(ARGUMENTS("run", "--detch", "x"), "did you mean --detach");
    must_fail(ARGUMENTS("list", "--tcp", "keep"), "it belongs to: checkpoint, restore");
    must_fail(ARGUMENTS("--detach", "run"), "must stand after its command");
    must_fail(ARGUMENTS("list", "-x"), "Unknown option -x");
    must_fail(ARGUMENTS("checkpoint", "a", "--tcp", "kep"), "did you mean 'keep'");
    must_fail(ARGUMENTS("checkpoint", "a", "--tcp"), "needs a value");
    must_fail(ARGUMENTS("checkpoint", "a", "--leave-running=yes"), "takes no value");
    must_fail(ARGUMENTS("checkpoint"), "needs NAME or --pid");
    must_fail(ARGUMENTS("checkpoint", "a", "--pid", "1"), "not both");
    must_fail(ARGUMENTS("checkpoint", "--pid", "0"), "process id");
    must_fail(ARGUMENTS("checkpoint", "--pid", "99999999999999999999"), "process id");
    must_fail(ARGUMENTS("checkpoint", "a", "--id", "../x"), "--id can't be '../x'");
    must_fail(ARGUMENTS("checkpoint", "a", "--id", "x", "--id", "y"), "given twice");
    must_fail(ARGUMENTS("restore"), "needs ID");
    must_fail(ARGUMENTS("restore", "a", "b"), "'b' is too many");
    must_fail(ARGUMENTS("ps", "a"), "takes no argument");
    must_fail(ARGUMENTS("run"), "needs COMMAND");
    must_fail(ARGUMENTS("run", "--env", "A", "x"), "KEY=VALUE");
    must_fail(ARGUMENTS("run", "--env", "=A", "x"), "KEY=VALUE");
    must_fail(ARGUMENTS("completion", "bsh"), "did you mean 'bash'");
    must_fail(ARGUMENTS("gc", "--keep", "-1"), "whole number");
    must_fail(ARGUMENTS("--", "list"), "before '--'");
}

static void help_needs_no_operands(void **state)
{
    struct invocation invocation = must(ARGUMENTS("restore", "--help"));

    (void)state;
    assert_true(invocation.help_wanted);
    invocation_done(&invocation);
    invocation = must(ARGUMENTS("-h"));
    assert_true(invocation.help_wanted);
    assert_null(invocation.command);
    invocation_done(&invocation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_in_every_form),
        cmocka_unit_test(defaults),
        cmocka_unit_test(a_workload_keeps_its_options),
        cmocka_unit_test(the_root),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(help_needs_no_operands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
