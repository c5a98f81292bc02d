/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/output.h"

enum { INDENT = 2, HELP_COLUMN = 8, SUMMARY_COLUMN = 14 };

static void print_block(FILE *stream, size_t indent, const char *text)
{
    (void)fprintf(stream, "%*s", (int)indent, "");
    print_wrapped(stream, text, indent, indent, terminal_width(stream));
}

char *command_synopsis(const struct command *command)
{
    const struct operand_definition *operand = &command->operand;
    const char *options = command->options ? "[OPTION...] " : "";

    if (!operand->name)
        return text_copy(command->options ? "[OPTION...]" : "");
    if (operand->ends_options)
        return text_format("%s[--] %s [ARGUMENT...]", options, operand->name);
    if (operand->instead[1])
        return text_format("%s%s | --%s PID | --%s NAME", options, operand->name,
                           operand->instead[0], operand->instead[1]);
    if (operand->instead[0])
        return text_format("%s%s | --%s PID", options, operand->name, operand->instead[0]);
    if (operand->minimum == 0)
        return text_format("%s[%s]", options, operand->name);
    return text_format("%s%s", options, operand->name);
}

static void print_option(FILE *stream, const struct option_definition *option)
{
    if (option->letter)
        (void)fprintf(stream, "  -%c, --%s", option->letter, option->name);
    else
        (void)fprintf(stream, "      --%s", option->name);
    if (option->value)
        (void)fprintf(stream, " %s", option->value);
    if (option->words)
        (void)fprintf(stream, "  (%s)", option->words);
    if (option->initial)
        (void)fprintf(stream, "  [%s]", option->initial);
    (void)fputc('\n', stream);
    print_block(stream, HELP_COLUMN, option->help);
    if (option->more)
        print_block(stream, HELP_COLUMN, option->more);
    if (option->example)
        (void)fprintf(stream, "%*s$ %s\n", HELP_COLUMN, "", option->example);
}

static void print_options(FILE *stream, const char *heading, const struct option_definition *list)
{
    if (!list)
        return;
    (void)fprintf(stream, "\n%s  (choices in parentheses, default in brackets)\n", heading);
    for (; list->name; list++)
        print_option(stream, list);
}

static void print_short_options(FILE *stream)
{
    (void)fprintf(stream, "\nOptions of every command\n");
    for (const struct option_definition *o = global_options; o->name; o++) {
        CLEANUP(free_ptr)
        char *head =
            text_format("--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");

        (void)fprintf(stream, "  %-16s ", head);
        print_wrapped(stream, o->help, 19, 19, terminal_width(stream));
    }
}

static void print_exit(FILE *stream, const struct exit_meaning *meaning)
{
    int column = meaning->status >= 0 ? fprintf(stream, "  %-4d ", meaning->status)
                                      : fprintf(stream, "       ");

    print_wrapped(stream, meaning->what, (size_t)column, 7, terminal_width(stream));
}

static void print_exits(FILE *stream, const struct exit_meaning *special)
{
    (void)fprintf(stream, "\nExit status\n");
    for (const struct exit_meaning *e = common_exits; e->what; e++)
        print_exit(stream, e);
    for (const struct exit_meaning *e = special; e && e->what; e++)
        print_exit(stream, e);
}

static void print_examples(FILE *stream, const struct example *examples)
{
    if (!examples)
        return;
    (void)fprintf(stream, "\nExamples\n");
    for (; examples->line; examples++) {
        (void)fprintf(stream, "  $ %s\n", examples->line);
        print_block(stream, 6, examples->what);
    }
}

void help_command(FILE *stream, const struct command *command)
{
    CLEANUP(free_ptr) char *synopsis = command_synopsis(command);

    (void)fprintf(stream, "snapshotctl %s: %s\n\nUsage: snapshotctl %s %s\n\n", command->name,
                  command->summary, command->name, synopsis);
    if (command->description)
        print_block(stream, 0, command->description);
    print_examples(stream, command->examples);
    print_options(stream, "Options", command->options);
    print_short_options(stream);
    print_exits(stream, command->exits);
    (void)fprintf(stream, "\nMore: man snapshotctl; `snapshotctl help` lists all commands.\n");
}

void help_overview(FILE *stream)
{
    (void)fprintf(stream, "Usage: snapshotctl [OPTION...] COMMAND ...\n\n");
    print_block(stream, 0,
                "Freezes a running workload (a GPU program, any process tree) into a snapshot and "
                "brings it back, much faster than it starts.");
    (void)fprintf(stream, "\nCommands\n");
    for (const struct command *c = commands; c->name; c++) {
        if (c->hidden)
            continue;
        (void)fprintf(stream, "  %-11s ", c->name);
        print_wrapped(stream, c->summary, SUMMARY_COLUMN, SUMMARY_COLUMN, terminal_width(stream));
    }
    print_short_options(stream);
    (void)fprintf(stream, "\nFirst steps\n"
                          "  $ snapshotctl doctor\n"
                          "  $ snapshotctl run --name demo --detach -- sleep 1000\n"
                          "  $ snapshotctl checkpoint demo\n"
                          "  $ snapshotctl restore demo --detach\n"
                          "\n`snapshotctl COMMAND --help` explains a command.\n");
}
