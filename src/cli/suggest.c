/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/suggest.h"

#include <string.h>

#include "basic/text.h"
#include "cli/command.h"

enum { LONGEST = 48 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t cost[LONGEST + 1][LONGEST + 1];

    if (a_length > LONGEST || b_length > LONGEST)
        return a_length > b_length ? a_length : b_length;
    for (size_t i = 0; i <= a_length; i++) {
        for (size_t j = 0; j <= b_length; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            cost[i][j] = least(least(cost[i - 1][j], cost[i][j - 1]) + 1,
                               cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[a_length][b_length];
}

void suggestion_offer(struct suggestion *suggestion, const char *candidate, size_t length)
{
    size_t typed = strlen(suggestion->typed);
    size_t distance = edit_distance(suggestion->typed, typed, candidate, length);
    /* A third of the letters may be wrong; a prefix of at least three letters counts as near. */
    size_t allowed = (typed > length ? typed : length) / 3;

    if (typed >= 3 && typed < length && memcmp(suggestion->typed, candidate, typed) == 0)
        distance = 1;
    if (distance > (allowed ? allowed : 1) || distance >= length)
        return;
    if (suggestion->best && distance >= suggestion->best_distance)
        return;
    suggestion->best = candidate;
    suggestion->best_length = length;
    suggestion->best_distance = distance;
}

char *suggest_word(const char *typed, const char *words)
{
    struct suggestion suggestion = {.typed = typed};
    const char *word;
    size_t length;

    for (size_t i = 0; words_at(words, i, &word, &length); i++)
        suggestion_offer(&suggestion, word, length);
    if (!suggestion.best)
        return NULL;
    return text_format("%.*s", (int)suggestion.best_length, suggestion.best);
}
