/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/parse.h"

#define ATTEMPTS 20
#define CHILDREN_MAX ((size_t)16 << 20)

void process_tree_done(struct process_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        process_done(&tree->processes[i]);
    free(tree->processes);
    *tree = PROCESS_TREE_INIT;
}

const struct process *process_tree_find(const struct process_tree *tree, pid_t pid)
{
    for (size_t i = 0; i < tree->count; i++) {
        if (tree->processes[i].pid == pid)
            return &tree->processes[i];
    }
    return NULL;
}

/* Takes over `process` on success. */
static int tree_add(struct process_tree *tree, struct process *process, struct error *error)
{
    if (tree->count >= PROCESS_TREE_MAX)
        return error_set(error, "tree-too-large", EFBIG, "the tree has more than %d processes",
                         PROCESS_TREE_MAX);
    if ((tree->count & (tree->count - 1)) == 0) {
        size_t capacity = tree->count ? 2 * tree->count : 1;
        struct process *grown = realloc(tree->processes, capacity * sizeof *grown);

        if (!grown)
            return error_set(error, "out-of-memory", ENOMEM, "reading the process tree");
        tree->processes = grown;
    }
    tree->processes[tree->count++] = *process;
    *process = PROCESS_INIT;
    return 0;
}

/* A child that is gone by now is no failure: the second read will not see it. */
static int add_child(struct process_tree *tree, pid_t pid, struct error *error)
{
    struct process process = PROCESS_INIT;
    int r;

    if (process_tree_find(tree, pid))
        return 0;
    r = process_read(pid, &process, error);
    if (r == -ESRCH) {
        if (error)
            error_done(error);
        return 0;
    }
    if (r == 0)
        r = tree_add(tree, &process, error);
    process_done(&process);
    return r;
}

static int add_children_of_thread(struct process_tree *tree, int directory, pid_t thread,
                                  struct error *error)
{
    CLEANUP(free_ptr) char *children = NULL;
    char path[48], *cursor, *field;
    int r;

    (void)snprintf(path, sizeof path, "task/%d/children", (int)thread);
    r = file_read(directory, path, CHILDREN_MAX, &children, NULL);
    if (r < 0)
        return r;
    cursor = children;
    while ((field = parse_field(&cursor))) {
        pid_t pid;

        if (parse_pid(field, &pid) < 0 || pid == 0)
            continue;
        r = add_child(tree, pid, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_children(struct process_tree *tree, pid_t parent, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    CLEANUP(free_ptr) pid_t *threads = NULL;
    size_t count;
    int r = process_open(parent, &directory, NULL);

    if (r == 0)
        r = process_threads(directory, &threads, &count, NULL);
    if (r < 0)
        return r == -ESRCH ? 0 : process_error(error, r, parent, "its threads");
    for (size_t i = 0; i < count; i++) {
        r = add_children_of_thread(tree, directory, threads[i], error);
        if (r < 0 && r != -ENOENT && r != -ESRCH)
            return r;
    }
    return 0;
}

/* For kernels without CONFIG_PROC_CHILDREN: everyone whose parent is in the tree. */
static int add_by_parents(struct process_tree *tree, struct error *error)
{
    CLEANUP(free_ptr) pid_t *pids = NULL;
    size_t count, before;
    int r = process_list(&pids, &count, error);

    if (r < 0)
        return r;
    do {
        before = tree->count;
        for (size_t i = 0; i < count; i++) {
            struct process process = PROCESS_INIT;

            if (process_read(pids[i], &process, NULL) < 0)
                continue;
            r = 0;
            if (!process_tree_find(tree, process.pid) && process_tree_find(tree, process.ppid))
                r = tree_add(tree, &process, error);
            process_done(&process);
            if (r < 0)
                return r;
        }
    } while (tree->count != before);
    return 0;
}

static bool children_supported(void)
{
    return access("/proc/thread-self/children", R_OK) == 0;
}

static int read_once(pid_t root, struct process_tree *ret, struct error *error)
{
    struct process_tree tree = PROCESS_TREE_INIT;
    struct process process = PROCESS_INIT;
    int r = process_read(root, &process, error);

    if (r == 0 && (process.state == 'Z' || process.state == 'X'))
        r = process_error(error, ESRCH, root, "it");
    if (r == 0)
        r = tree_add(&tree, &process, error);
    process_done(&process);
    if (r == 0 && !children_supported())
        r = add_by_parents(&tree, error);
    else
        for (size_t i = 0; r == 0 && i < tree.count; i++)
            r = add_children(&tree, tree.processes[i].pid, error);
    if (r < 0) {
        process_tree_done(&tree);
        return r;
    }
    *ret = tree;
    return 0;
}

static bool trees_equal(const struct process_tree *a, const struct process_tree *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!process_same(&a->processes[i], &b->processes[i]) ||
            a->processes[i].threads != b->processes[i].threads)
            return false;
    }
    return true;
}

int process_tree_read(pid_t root, struct process_tree *ret, struct error *error)
{
    struct process_tree tree = PROCESS_TREE_INIT, again = PROCESS_TREE_INIT;
    int r = read_once(root, &tree, error);

    for (int i = 0; r == 0 && i < ATTEMPTS && !tree.settled; i++) {
        r = read_once(root, &again, error);
        if (r < 0)
            break;
        again.settled = trees_equal(&tree, &again);
        process_tree_done(&tree);
        tree = again;
        if (!tree.settled)
            clock_sleep_msec(1);
    }
    if (r < 0) {
        process_tree_done(&tree);
        return r;
    }
    *ret = tree;
    return 0;
}
