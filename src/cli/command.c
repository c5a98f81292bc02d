/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <string.h>

const struct command *command_find(const char *name)
{
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

const struct option_definition *option_find(const struct option_definition *list, const char *name,
                                            size_t length)
{
    for (const struct option_definition *o = list; o && o->name; o++) {
        if (strlen(o->name) == length && memcmp(o->name, name, length) == 0)
            return o;
    }
    return NULL;
}

const struct option_definition *option_find_letter(const struct option_definition *list,
                                                   char letter)
{
    for (const struct option_definition *o = list; o && o->name; o++) {
        if (o->letter == letter)
            return o;
    }
    return NULL;
}

bool words_at(const char *words, size_t index, const char **ret_word, size_t *ret_length)
{
    const char *word = words;

    while (word && index > 0) {
        word = strchr(word, '|');
        word = word ? word + 1 : NULL;
        index--;
    }
    if (!word)
        return false;
    *ret_word = word;
    *ret_length = strcspn(word, "|");
    return true;
}
