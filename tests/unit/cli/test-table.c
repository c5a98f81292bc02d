/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands is right: what it says can be parsed, and every text is there. */
#include "unit.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "cli/invocation.h"
#include "cli/value.h"

enum { WORDS = 64 };

/* Splits at blanks up to a pipe or a redirection. */
static int split(char *line, const char **argv)
{
    int argc = 0;
    char *rest = NULL;

    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (strchr(word, '|') || strchr(word, '>'))
            break;
        assert_true(argc < WORDS);
        argv[argc++] = word;
    }
    return argc;
}

static void check_example(const char *line, const char *command)
{
    char *copy = text_copy(line);
    const char *argv[WORDS];
    struct invocation invocation = INVOCATION_INIT;
    struct error error = ERROR_INIT;

    if (text_starts_with(line, "snapshotctl ")) {
        if (invocation_parse(split(copy, argv), argv, &invocation, &error) < 0)
            fail_msg("%s: %s", line, error.message);
        if (command)
            assert_string_equal(invocation.command->name, command);
        invocation_done(&invocation);
    }
    free(copy);
}

static void check_sentence(const char *text)
{
    size_t length = strlen(text);

    assert_true(length > 0);
    assert_true(text[0] != ' ' && text[length - 1] != ' ');
    assert_null(strstr(text, "  "));
}

static void check_option(const struct option_definition *option, const char *command)
{
    struct error error = ERROR_INIT;
    uint64_t number;
    double seconds;

    assert_non_null(option->help);
    check_sentence(option->help);
    assert_true(strlen(option->help) <= 75);
    if (option->more)
        check_sentence(option->more);
    assert_true((option->type == VALUE_FLAG) == (option->value == NULL));
    assert_true((option->type == VALUE_WORD) == (option->words != NULL));
    for (const char *c = option->name; *c; c++)
        assert_true(islower((unsigned char)*c) || *c == '-');
    if (option->initial && value_check(option, option->initial, &number, &seconds, &error) < 0)
        fail_msg("default of --%s: %s", option->name, error.message);
    if (option->example)
        check_example(option->example, command);
}

static void check_letters(const struct option_definition *list)
{
    for (const struct option_definition *o = list; o && o->name; o++) {
        assert_ptr_equal(option_find(list, o->name, strlen(o->name)), o);
        if (o->letter)
            assert_ptr_equal(option_find_letter(list, o->letter), o);
        if (list == global_options)
            continue;
        assert_null(option_find(global_options, o->name, strlen(o->name)));
        if (o->letter)
            assert_null(option_find_letter(global_options, o->letter));
    }
}

static void check_command(const struct command *command)
{
    assert_non_null(command->handler);
    assert_non_null(command->summary);
    assert_ptr_equal(command_find(command->name), command);
    check_letters(command->options);
    for (const struct option_definition *o = command->options; o && o->name; o++)
        check_option(o, command->name);
    if (command->hidden)
        return;
    check_sentence(command->summary);
    check_sentence(command->description);
    assert_non_null(command->examples);
    for (const struct example *e = command->examples; e->line; e++)
        check_example(e->line, command->name);
    for (size_t i = 0; i < 2 && command->operand.instead[i]; i++)
        assert_non_null(option_find(command->options, command->operand.instead[i],
                                    strlen(command->operand.instead[i])));
}

static void all_commands(void **state)
{
    (void)state;
    check_letters(global_options);
    for (const struct option_definition *o = global_options; o->name; o++)
        check_option(o, NULL);
    for (const struct command *c = commands; c->name; c++)
        check_command(c);
}

/* What preflight says must be about the checkpoint that would be made. */
static void preflight_is_about_checkpoint(void **state)
{
    const struct command *checkpoint = command_find("checkpoint");

    (void)state;
    for (const struct option_definition *o = command_find("preflight")->options; o->name; o++) {
        const struct option_definition *same =
            option_find(checkpoint->options, o->name, strlen(o->name));

        assert_non_null(same);
        assert_true(text_equal(o->initial, same->initial));
        assert_true(text_equal(o->words, same->words));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_commands),
                                       cmocka_unit_test(preflight_is_about_checkpoint)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
