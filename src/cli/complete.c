/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/command.h"
#include "cli/complete-names.h"

struct completion {
    FILE *stream;
    const struct command *command;
    const struct option_definition *pending; /* the option whose value comes next */
    const char *root;
    bool only_operands; /* "--" or the start of a command line has passed */
    bool operand_seen;
    const char *directive;
};

static const struct option_definition *find_option(const struct completion *completion,
                                                   const char *word, size_t length)
{
    const struct option_definition *option = NULL;

    if (completion->command)
        option = option_find(completion->command->options, word, length);
    return option ? option : option_find(global_options, word, length);
}

static const struct option_definition *find_letter(const struct completion *completion, char letter)
{
    const struct option_definition *option = NULL;

    if (completion->command)
        option = option_find_letter(completion->command->options, letter);
    return option ? option : option_find_letter(global_options, letter);
}

static void pass_option(struct completion *completion, const char *word)
{
    const struct option_definition *option;
    size_t length;

    if (word[1] != '-') {
        option = find_letter(completion, word[1]);
        if (option && option->type != VALUE_FLAG && !word[2])
            completion->pending = option;
        return;
    }
    length = strcspn(word + 2, "=");
    option = find_option(completion, word + 2, length);
    if (!option || option->type == VALUE_FLAG)
        return;
    if (!word[2 + length])
        completion->pending = option;
    else if (text_equal(option->name, "root"))
        completion->root = word + 2 + length + 1;
}

/* A word that stands before the one being completed. */
static void pass_word(struct completion *completion, const char *word)
{
    if (completion->only_operands) {
        completion->operand_seen = true;
        return;
    }
    if (completion->pending) {
        if (text_equal(completion->pending->name, "root"))
            completion->root = word;
        completion->pending = NULL;
    } else if (text_equal(word, "--")) {
        completion->only_operands = true;
    } else if (word[0] == '-' && word[1]) {
        pass_option(completion, word);
    } else if (!completion->command) {
        completion->command = command_find(word);
        completion->only_operands = !completion->command;
    } else {
        completion->operand_seen = true;
        completion->only_operands = completion->command->operand.ends_options;
    }
}

static void offer(const struct completion *completion, const char *prefix, const char *candidate,
                  size_t length, const char *typed, const char *description)
{
    CLEANUP(free_ptr)
    char *whole = text_format("%s%.*s", prefix, (int)length, candidate);

    if (text_starts_with(whole, typed))
        (void)fprintf(completion->stream, "%s\t%s\n", whole, description);
}

static void offer_commands(const struct completion *completion, const char *typed)
{
    for (const struct command *c = commands; c->name; c++) {
        if (!c->hidden)
            offer(completion, "", c->name, strlen(c->name), typed, c->summary);
    }
}

static void offer_options(const struct completion *completion, const char *typed,
                          const struct option_definition *list)
{
    for (; list && list->name; list++)
        offer(completion, "--", list->name, strlen(list->name), typed, list->help);
}

static void offer_codes(const struct completion *completion, const char *prefix, const char *typed)
{
    size_t count;
    const struct catalogue_entry *entries = catalogue_entries(&count);

    for (size_t i = 0; i < count; i++)
        offer(completion, prefix, entries[i].code, strlen(entries[i].code), typed,
              entries[i].title);
}

static void offer_words(const struct completion *completion, const char *prefix, const char *typed,
                        const char *words)
{
    const char *word;
    size_t length;

    for (size_t i = 0; words_at(words, i, &word, &length); i++)
        offer(completion, prefix, word, length, typed, "");
}

static void offer_names(const struct completion *completion, const char *prefix, const char *typed,
                        char **names)
{
    for (char **name = names; *name; name++) {
        offer(completion, prefix, *name, strlen(*name), typed, "");
        free(*name);
    }
    free(names);
}

static void offer_kind(struct completion *completion, enum completion_kind kind, const char *words,
                       const char *prefix, const char *typed)
{
    switch (kind) {
    case COMPLETE_NOTHING:
        break;
    case COMPLETE_FILE:
        completion->directive = ":files";
        break;
    case COMPLETE_DIRECTORY:
        completion->directive = ":directories";
        break;
    case COMPLETE_PROGRAM:
        completion->directive = completion->operand_seen ? ":files" : ":programs";
        break;
    case COMPLETE_SNAPSHOT:
        offer_names(completion, prefix, typed,
                    snapshot_references(completion->root, strchr(typed, '@') != NULL));
        break;
    case COMPLETE_WORKLOAD:
        offer_names(completion, prefix, typed, known_workloads(completion->root));
        break;
    case COMPLETE_PID:
        offer_names(completion, prefix, typed, process_ids());
        break;
    case COMPLETE_CODE:
        offer_codes(completion, prefix, typed);
        break;
    case COMPLETE_WORDS:
        offer_words(completion, prefix, typed, words);
        break;
    case COMPLETE_COMMAND:
        offer_commands(completion, typed);
        break;
    }
}

/* "--option=part" */
static void complete_glued_value(struct completion *completion, const char *typed)
{
    const char *equals = strchr(typed, '=');
    const struct option_definition *option =
        find_option(completion, typed + 2, (size_t)(equals - typed) - 2);
    CLEANUP(free_ptr) char *prefix = text_format("%.*s", (int)(equals - typed) + 1, typed);

    if (option && option->type != VALUE_FLAG)
        offer_kind(completion, option->completion, option->words, prefix, typed);
}

static void complete_operand(struct completion *completion, const char *typed)
{
    const struct operand_definition *operand = &completion->command->operand;

    if (!operand->name || (completion->operand_seen && operand->maximum <= 1))
        return;
    offer_kind(completion, operand->completion, operand->words, "", typed);
}

static void complete_word(struct completion *completion, const char *typed)
{
    if (completion->pending && !completion->only_operands) {
        offer_kind(completion, completion->pending->completion, completion->pending->words, "",
                   typed);
    } else if (!completion->only_operands && typed[0] == '-') {
        if (typed[1] == '-' && strchr(typed, '=')) {
            complete_glued_value(completion, typed);
            return;
        }
        offer_options(completion, typed, completion->command ? completion->command->options : NULL);
        offer_options(completion, typed, global_options);
    } else if (completion->command) {
        complete_operand(completion, typed);
    } else if (!completion->only_operands) {
        offer_commands(completion, typed);
    }
}

void complete(const char *const *words, size_t count, FILE *stream)
{
    struct completion completion = {.stream = stream, .directive = ":none"};

    for (size_t i = 0; i + 1 < count; i++)
        pass_word(&completion, words[i]);
    complete_word(&completion, count ? words[count - 1] : "");
    (void)fprintf(stream, "%s\n", completion.directive);
}
