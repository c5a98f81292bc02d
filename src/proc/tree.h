/* SPDX-License-Identifier: Apache-2.0 */
/* A process and all its descendants, at one moment. */
#pragma once

#include "proc/process.h"

/* More processes than this in a tree are refused ("tree-too-large"). */
#define PROCESS_TREE_MAX 16384

struct process_tree {
    struct process *processes; /* the root first, then breadth first */
    size_t count;
    bool settled; /* two reads in a row agreed; false: it forks or ends processes all the time */
};

#define PROCESS_TREE_INIT ((struct process_tree){0})

/* Reads until two reads agree (a few attempts). process_tree_done gives up what it holds.
 * "process-gone" when the root is not there or a zombie. */
int process_tree_read(pid_t root, struct process_tree *ret, struct error *error);

void process_tree_done(struct process_tree *tree);

/* NULL when `pid` is not in the tree. */
const struct process *process_tree_find(const struct process_tree *tree, pid_t pid);
