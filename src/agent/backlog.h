/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent that comes new hears of the journal, in the order in which it happened: a directory
 * has none. */
#pragma once

#include <jansson.h>

struct backlog {
    json_t **messages;
    size_t count;
};

/* Keeps a reference to it. */
void backlog_add(struct backlog *backlog, json_t *message);

/* The attempts at each thing one after another, and the words about them last. */
void backlog_sort(struct backlog *backlog);

void backlog_done(struct backlog *backlog);
