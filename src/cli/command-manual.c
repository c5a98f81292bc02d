/* SPDX-License-Identifier: Apache-2.0 */
/* The reference part of snapshotctl(1), in mdoc(7): the build puts it into man/snapshotctl.1.in. */
#include <stdio.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/invocation.h"

enum { LINE_MAXIMUM = 78 };

/* One word, escaped: no character is a request or an escape. */
static void append_word(struct buffer *line, const char *word, size_t length)
{
    if (line->length == 0 && (word[0] == '.' || word[0] == '\''))
        (void)buffer_append(line, "\\&", 2);
    for (size_t i = 0; i < length; i++) {
        if (word[i] == '\\')
            (void)buffer_append(line, "\\e", 2);
        else if (word[i] == '-')
            (void)buffer_append(line, "\\-", 2);
        else
            (void)buffer_append(line, &word[i], 1);
    }
}

static void end_line(struct buffer *line)
{
    if (line->length)
        (void)puts(line->data);
    line->length = 0;
}

static bool ends_sentence(const char *word, size_t length)
{
    const char *next = word + length;

    return strchr(".!?", word[length - 1]) && *next == ' ' && next[1] >= 'A' && next[1] <= 'Z';
}

/* Lines of fewer than 80 characters; each sentence starts one, as mdoc(7) wants. */
static void print_text(const char *text)
{
    CLEANUP(buffer_done) struct buffer line = BUFFER_INIT(1 << 16);

    while (*text) {
        size_t length = strcspn(text, " \n");

        if (length == 0) {
            if (text[0] == '\n' && text[1] == '\n') {
                end_line(&line);
                (void)puts(".Pp");
            }
            text++;
            continue;
        }
        if (line.length && line.length + 1 + 2 * length > LINE_MAXIMUM)
            end_line(&line);
        if (line.length)
            (void)buffer_append(&line, " ", 1);
        append_word(&line, text, length);
        if (ends_sentence(text, length))
            end_line(&line);
        text += length;
    }
    end_line(&line);
}

/* Arguments of a macro: quoted, so that none of them is taken for a macro. */
static void print_quoted(const char *text)
{
    (void)fputc('"', stdout);
    for (const char *c = text; *c; c++) {
        if (*c == '"')
            (void)fputs("\\(dq", stdout);
        else if (*c == '\\')
            (void)fputs("\\e", stdout);
        else if (*c == '-')
            (void)fputs("\\-", stdout);
        else
            (void)fputc(*c, stdout);
    }
    (void)fputc('"', stdout);
}

static void print_literal(const char *line)
{
    (void)fputs(".Dl ", stdout);
    print_quoted(line);
    (void)fputc('\n', stdout);
}

static void print_option(const struct option_definition *option)
{
    (void)fputs(".It ", stdout);
    if (option->letter)
        (void)printf("Fl %c , ", option->letter);
    (void)printf("Fl \\-%s", option->name);
    if (option->value) {
        (void)fputs(" Ar ", stdout);
        print_quoted(option->value);
    }
    (void)fputc('\n', stdout);
    print_text(option->help);
    if (option->words || option->initial) {
        CLEANUP(free_ptr)
        char *choice = text_format(
            "%s%s%s%s%s%s", option->words ? "One of " : "", option->words ? option->words : "",
            option->words ? ". " : "", option->initial ? "The default is " : "",
            option->initial ? option->initial : "", option->initial ? "." : "");

        (void)fputs(".Pp\n", stdout);
        print_text(choice);
    }
    if (option->more) {
        (void)fputs(".Pp\n", stdout);
        print_text(option->more);
    }
    if (option->example)
        print_literal(option->example);
}

static void print_options(const struct option_definition *list)
{
    if (!list)
        return;
    (void)fputs(".Bl -tag -width Ds\n", stdout);
    for (; list->name; list++)
        print_option(list);
    (void)fputs(".El\n", stdout);
}

static void print_synopsis(const struct command *command)
{
    const struct operand_definition *operand = &command->operand;

    (void)fputs(".Nm\n.Cm ", stdout);
    print_quoted(command->name);
    (void)fputc('\n', stdout);
    if (command->options)
        (void)fputs(".Op Ar option ...\n", stdout);
    if (!operand->name)
        return;
    if (operand->ends_options)
        (void)fputs(".Op Fl \\-\n", stdout);
    (void)fputs(operand->minimum == 0 && !operand->instead[0] ? ".Op Ar " : ".Ar ", stdout);
    print_quoted(operand->name);
    if (operand->instead[0])
        (void)printf(" | Fl \\-%s Ar PID", operand->instead[0]);
    if (operand->instead[1])
        (void)printf(" | Fl \\-%s Ar NAME", operand->instead[1]);
    if (operand->ends_options)
        (void)fputs(" Op Ar argument ...", stdout);
    (void)fputc('\n', stdout);
}

static void print_exits(const struct exit_meaning *exits)
{
    if (!exits)
        return;
    (void)fputs("Exit status, beside those of all commands:\n.Bl -tag -width Ds -compact\n",
                stdout);
    for (; exits->what; exits++) {
        if (exits->status >= 0)
            (void)printf(".It %d\n", exits->status);
        else
            (void)fputs(".It else\n", stdout);
        print_text(exits->what);
    }
    (void)fputs(".El\n", stdout);
}

static void print_command(const struct command *command)
{
    (void)printf(".Ss %s: ", command->name);
    (void)fputs(command->summary, stdout);
    (void)fputs("\n.Bd -ragged -compact\n", stdout);
    print_synopsis(command);
    (void)fputs(".Ed\n.Pp\n", stdout);
    print_text(command->description);
    print_options(command->options);
    for (const struct example *e = command->examples; e && e->line; e++) {
        (void)fputs(".Pp\n", stdout);
        print_text(e->what);
        print_literal(e->line);
    }
    if (command->exits)
        (void)fputs(".Pp\n", stdout);
    print_exits(command->exits);
}

int command_manual(const struct invocation *invocation, struct error *error)
{
    (void)invocation;
    (void)error;
    (void)fputs(".Sh GLOBAL OPTIONS\nThese may stand before or after the command.\n", stdout);
    print_options(global_options);
    (void)fputs(".Sh COMMANDS\n", stdout);
    for (const struct command *c = commands; c->name; c++) {
        if (!c->hidden)
            print_command(c);
    }
    return 0;
}
