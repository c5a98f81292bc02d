/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/invocation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/suggest.h"
#include "cli/value.h"
#include "image/layout.h"

/* Where the parser is in argv. */
struct cursor {
    const char *const *argv;
    int argc;
    int next;
};

static void values_add(struct invocation *invocation, const struct option_definition *list)
{
    for (const struct option_definition *o = list; o && o->name; o++) {
        size_t size = (invocation->value_count + 1) * sizeof *invocation->values;
        struct option_value *grown = allocate(size);

        if (invocation->value_count)
            memcpy(grown, invocation->values, size - sizeof *grown);
        free(invocation->values);
        invocation->values = grown;
        grown[invocation->value_count++].definition = o;
    }
}

static void value_append(struct option_value *value, const char *text)
{
    const char **grown = allocate((value->count + 1) * sizeof *grown);

    if (value->count)
        memcpy(grown, value->texts, value->count * sizeof *grown);
    free(value->texts);
    value->texts = grown;
    grown[value->count++] = text;
}

static struct option_value *value_of(const struct invocation *invocation, const char *name,
                                     size_t length)
{
    for (size_t i = 0; i < invocation->value_count; i++) {
        const char *known = invocation->values[i].definition->name;

        if (strlen(known) == length && memcmp(known, name, length) == 0)
            return &invocation->values[i];
    }
    return NULL;
}

static struct option_value *value_of_letter(const struct invocation *invocation, char letter)
{
    for (size_t i = 0; i < invocation->value_count; i++) {
        if (invocation->values[i].definition->letter == letter)
            return &invocation->values[i];
    }
    return NULL;
}

static int value_take(struct option_value *value, const char *text, struct error *error)
{
    const struct option_definition *definition = value->definition;
    int r = value_check(definition, text, &value->number, &value->seconds, error);

    if (r < 0)
        return r;
    if (value->given && !definition->repeats && !text_equal(value->texts[0], text))
        return error_set(error, "usage", 0, "--%s is given twice, as '%s' and as '%s'",
                         definition->name, value->texts[0], text);
    if (!value->given || definition->repeats)
        value_append(value, text);
    value->given = true;
    return 0;
}

/* Which other commands know this option: it may just stand behind the wrong one. */
static char *commands_with_option(const char *name, size_t length)
{
    struct buffer names = BUFFER_INIT(1024);

    for (const struct command *c = commands; c->name; c++) {
        if (!c->hidden && option_find(c->options, name, length))
            (void)buffer_printf(&names, "%s%s", names.length ? ", " : "", c->name);
    }
    return names.data;
}

static int unknown_option(const struct invocation *invocation, const char *name, size_t length,
                          struct error *error)
{
    CLEANUP(free_ptr) char *typed = text_format("%.*s", (int)length, name);
    CLEANUP(free_ptr) char *owners = commands_with_option(name, length);
    struct suggestion suggestion = {.typed = typed};
    const char *command = invocation->command ? invocation->command->name : NULL;

    for (size_t i = 0; i < invocation->value_count; i++) {
        const char *known = invocation->values[i].definition->name;

        suggestion_offer(&suggestion, known, strlen(known));
    }
    if (owners && command)
        return error_set(error, "usage", 0, "'%s' has no option --%s; it belongs to: %s", command,
                         typed, owners);
    if (owners)
        return error_set(error, "usage", 0, "Option --%s must stand after its command (%s)", typed,
                         owners);
    if (suggestion.best)
        return error_set(error, "usage", 0, "Unknown option --%s; did you mean --%s?", typed,
                         suggestion.best);
    return error_set(error, "usage", 0, "Unknown option --%s%s%s", typed,
                     command ? " of command " : "", command ? command : "");
}

static int next_value(struct cursor *cursor, const struct option_definition *definition,
                      const char **ret_text, struct error *error)
{
    if (cursor->next >= cursor->argc)
        return error_set(error, "usage", 0, "--%s needs a value: --%s %s", definition->name,
                         definition->name, definition->value);
    *ret_text = cursor->argv[cursor->next++];
    return 0;
}

static int parse_long(struct invocation *invocation, struct cursor *cursor, const char *word,
                      struct error *error)
{
    size_t length = strcspn(word, "=");
    struct option_value *value = value_of(invocation, word, length);
    const char *text = word[length] == '=' ? word + length + 1 : NULL;
    int r;

    if (!value)
        return unknown_option(invocation, word, length, error);
    if (value->definition->type == VALUE_FLAG) {
        if (text)
            return error_set(error, "usage", 0, "--%s takes no value", value->definition->name);
        text = "";
    }
    if (!text) {
        r = next_value(cursor, value->definition, &text, error);
        if (r < 0)
            return r;
    }
    return value_take(value, text, error);
}

/* "-fv", "-nNAME", "-n NAME". */
static int parse_letters(struct invocation *invocation, struct cursor *cursor, const char *word,
                         struct error *error)
{
    for (const char *letter = word; *letter; letter++) {
        struct option_value *value = value_of_letter(invocation, *letter);
        const char *text = "";
        int r;

        if (!value)
            return error_set(error, "usage", 0, "Unknown option -%c%s%s", *letter,
                             invocation->command ? " of command " : "",
                             invocation->command ? invocation->command->name : "");
        if (value->definition->type != VALUE_FLAG) {
            text = letter + 1;
            if (*text == '=')
                text++;
            else if (!*text && (r = next_value(cursor, value->definition, &text, error)) < 0)
                return r;
            return value_take(value, text, error);
        }
        r = value_take(value, text, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse_command(struct invocation *invocation, const char *word, struct error *error)
{
    struct suggestion suggestion = {.typed = word};

    invocation->command = command_find(word);
    if (invocation->command) {
        values_add(invocation, invocation->command->options);
        return 0;
    }
    for (const struct command *c = commands; c->name; c++) {
        if (!c->hidden)
            suggestion_offer(&suggestion, c->name, strlen(c->name));
    }
    if (suggestion.best)
        return error_set(error, "usage", 0, "Unknown command '%s'; did you mean '%s'?", word,
                         suggestion.best);
    return error_set(error, "usage", 0,
                     "Unknown command '%s'; `snapshotctl help` lists the commands", word);
}

/* Operands stay in argv order but options stand between them, so they are collected. */
static int parse_words(struct invocation *invocation, struct cursor *cursor,
                       struct option_value *operands, struct error *error)
{
    while (cursor->next < cursor->argc) {
        const char *word = cursor->argv[cursor->next++];
        int r = 0;

        if (strcmp(word, "--") == 0)
            break;
        if (word[0] == '-' && word[1] == '-') {
            r = parse_long(invocation, cursor, word + 2, error);
        } else if (word[0] == '-' && word[1]) {
            r = parse_letters(invocation, cursor, word + 1, error);
        } else if (!invocation->command) {
            r = parse_command(invocation, word, error);
        } else {
            value_append(operands, word);
            if (invocation->command->operand.ends_options)
                break;
        }
        if (r < 0)
            return r;
    }
    while (cursor->next < cursor->argc) {
        if (!invocation->command)
            return error_set(error, "usage", 0, "No command stands before '--'");
        value_append(operands, cursor->argv[cursor->next++]);
    }
    return 0;
}

static int check_operand_words(const struct invocation *invocation, struct error *error)
{
    const struct operand_definition *definition = &invocation->command->operand;
    struct option_definition as_option = {.name = definition->name, .words = definition->words};

    for (size_t i = 0; definition->words && i < invocation->operand_count; i++) {
        CLEANUP(free_ptr) char *nearest = NULL;
        const char *typed = invocation->operands[i], *word;
        size_t length;
        bool known = false;

        for (size_t w = 0; words_at(as_option.words, w, &word, &length); w++)
            known = known || (strlen(typed) == length && memcmp(typed, word, length) == 0);
        if (known)
            continue;
        nearest = suggest_word(typed, definition->words);
        return error_set(error, "usage", 0, "%s can't be '%s'%s%s%s (%s)", definition->name, typed,
                         nearest ? "; did you mean '" : "", nearest ? nearest : "",
                         nearest ? "'?" : "", definition->words);
    }
    return 0;
}

/* The operand, or one of the options that take its place. */
static int check_instead(const struct invocation *invocation, struct error *error)
{
    const char *name = invocation->command->name;
    const struct operand_definition *operand = &invocation->command->operand;
    const char *second = operand->instead[1];
    bool first_given = option_given(invocation, operand->instead[0]);
    bool second_given = second && option_given(invocation, second);
    int given = (invocation->operand_count > 0) + first_given + second_given;

    if (given == 1)
        return 0;
    if (given == 0)
        return error_set(error, "usage", 0, "'%s' needs %s or --%s%s%s", name, operand->name,
                         operand->instead[0], second ? " or --" : "", second ? second : "");
    return error_set(error, "usage", 0, "'%s' takes either %s or --%s%s%s, not both", name,
                     operand->name, operand->instead[0], second ? " or --" : "",
                     second ? second : "");
}

static int check_operands(const struct invocation *invocation, struct error *error)
{
    const struct command *command = invocation->command;
    const struct operand_definition *operand = &command->operand;
    size_t count = invocation->operand_count;
    int r;

    if (operand->instead[0]) {
        r = check_instead(invocation, error);
        if (r < 0)
            return r;
    }
    if (count < operand->minimum)
        return error_set(error, "usage", 0, "'%s' needs %s", command->name, operand->name);
    if (count > operand->maximum && operand->maximum == 0)
        return error_set(error, "usage", 0, "'%s' takes no argument, but got '%s'", command->name,
                         invocation->operands[0]);
    if (count > operand->maximum)
        return error_set(error, "usage", 0, "'%s' takes one %s; '%s' is too many", command->name,
                         operand->name, invocation->operands[operand->maximum]);
    return check_operand_words(invocation, error);
}

static int parse(struct invocation *invocation, struct cursor *cursor, struct error *error)
{
    struct option_value operands = {0};
    int r = parse_words(invocation, cursor, &operands, error);

    invocation->operands = operands.texts;
    invocation->operand_count = operands.count;
    if (r < 0)
        return r;
    invocation->json = option_flag(invocation, "json");
    invocation->verbose = option_flag(invocation, "verbose");
    invocation->help_wanted = option_flag(invocation, "help");
    invocation->version_wanted = option_flag(invocation, "version");
    invocation->root = snapshot_root(option_text(invocation, "root"));
    if (!invocation->command || invocation->help_wanted || invocation->version_wanted)
        return 0;
    return check_operands(invocation, error);
}

int invocation_parse(int argc, const char *const *argv, struct invocation *ret_invocation,
                     struct error *error)
{
    struct invocation invocation = INVOCATION_INIT;
    struct cursor cursor = {.argv = argv, .argc = argc, .next = 1};
    int r;

    values_add(&invocation, global_options);
    r = parse(&invocation, &cursor, error);
    if (r < 0) {
        invocation_done(&invocation);
        return r;
    }
    *ret_invocation = invocation;
    return 0;
}

void invocation_done(struct invocation *invocation)
{
    for (size_t i = 0; i < invocation->value_count; i++)
        free(invocation->values[i].texts);
    free(invocation->values);
    free((void *)invocation->operands);
    *invocation = INVOCATION_INIT;
}

const char *operand_at(const struct invocation *invocation, size_t index)
{
    return index < invocation->operand_count ? invocation->operands[index] : NULL;
}

/* A bug in a handler, never the user's doing. */
static const struct option_value *value_must(const struct invocation *invocation, const char *name)
{
    const struct option_value *value = value_of(invocation, name, strlen(name));

    if (!value) {
        (void)fprintf(stderr, "bug: no option --%s in the table of this command\n", name);
        abort();
    }
    return value;
}

bool option_given(const struct invocation *invocation, const char *name)
{
    return value_must(invocation, name)->given;
}

bool option_flag(const struct invocation *invocation, const char *name)
{
    return value_must(invocation, name)->given;
}

const char *option_text(const struct invocation *invocation, const char *name)
{
    const struct option_value *value = value_must(invocation, name);

    return value->given ? value->texts[0] : value->definition->initial;
}

const char *const *option_texts(const struct invocation *invocation, const char *name,
                                size_t *ret_count)
{
    const struct option_value *value = value_must(invocation, name);

    *ret_count = value->count;
    return value->texts;
}

/* The default is checked by a test over the whole table. */
static void value_default(const struct option_value *value, uint64_t *ret_number,
                          double *ret_seconds)
{
    if (value->definition->initial)
        (void)value_check(value->definition, value->definition->initial, ret_number, ret_seconds,
                          NULL);
}

uint64_t option_number(const struct invocation *invocation, const char *name)
{
    const struct option_value *value = value_must(invocation, name);
    uint64_t number = value->number;
    double seconds;

    if (!value->given)
        value_default(value, &number, &seconds);
    return number;
}

double option_seconds(const struct invocation *invocation, const char *name)
{
    const struct option_value *value = value_must(invocation, name);
    double seconds = value->seconds;
    uint64_t number;

    if (!value->given)
        value_default(value, &number, &seconds);
    return seconds;
}
