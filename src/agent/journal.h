/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of operations: a directory for each, with the order, a lock that the operation holds
 * as long as it lives, its log, and its result. It is what lets an agent that was restarted, or
 * replaced by a newer one, find the operations of the one before: neither ended nor begun twice.
 *
 *   <state>/operations/<key>/{order.json,lock,log,result.json}
 *
 * "agent-journal"
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/order.h"
#include "basic/error.h"

struct journal;

/* Makes the directory. There is one journal to a node: "agent-running" while another agent has it.
 */
int journal_open(const char *state_directory, struct journal **ret, struct error *error);
void journal_free(struct journal *journal);

/* Records an order, before anything is done. `ret_lock`: to be held by the process that carries it
 * out (its descriptors are the lock). -EEXIST when there is such a key. */
int journal_begin(struct journal *journal, const struct order *order, int *ret_lock,
                  struct error *error);

/* By the process that carries it out: `lock` says from now on who that is. */
void journal_sign(int lock);

/* That process, while it lives; 0: it doesn't. */
pid_t journal_process(struct journal *journal, const char *key);

/* By the process that carries it out. */
int journal_end(struct journal *journal, const char *key, const json_t *result,
                struct error *error);

/* Where the process that carries it out may write. */
int journal_open_log(struct journal *journal, const char *key, struct error *error);

/* The last lines of it; NULL: nothing. The caller frees it. */
char *journal_read_log(struct journal *journal, const char *key);

enum journal_state {
    JOURNAL_RUNNING,
    JOURNAL_ENDED, /* there is a result */
    JOURNAL_LOST,  /* its process is gone, and has left none */
};

/* `ret_result`: a new reference, in JOURNAL_ENDED only. */
enum journal_state journal_look(struct journal *journal, const char *key, json_t **ret_result);

typedef void journal_function(const struct order *order, void *context);

/* Every operation that there is. Entries that can't be read are removed. */
int journal_each(struct journal *journal, journal_function *function, void *context,
                 struct error *error);

/* Forgets an operation that does not run. */
void journal_forget(struct journal *journal, const char *key);
