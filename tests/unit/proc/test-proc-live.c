/* SPDX-License-Identifier: Apache-2.0 */
/* src/proc on processes that are really there: this one and its children. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "proc/descriptors.h"
#include "proc/ending.h"
#include "proc/maps.h"
#include "proc/mounts.h"
#include "proc/namespaces.h"
#include "proc/sockets.h"
#include "proc/tree.h"

static pid_t start_child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        for (;;)
            (void)pause();
    }
    assert_true(pid > 0);
    return pid;
}

static void end_child(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void end_is_seen_before_the_parent_looks(void **state)
{
    CLEANUP(free_ptr) char *text = NULL, *by_signal = NULL;
    pid_t lives = start_child(), ends = fork();
    int status = -1;

    (void)state;
    if (ends == 0)
        _exit(7);
    assert_int_equal(process_await_end(ends, 5000, &status), 1);
    assert_int_equal(WEXITSTATUS(status), 7);
    text = process_end_text(status);
    assert_string_equal(text, "with status 7");
    end_child(ends);
    assert_int_equal(process_await_end(ends, 0, &status), -ESRCH);

    assert_int_equal(process_await_end(lives, 20, &status), 0);
    (void)kill(lives, SIGTERM);
    assert_int_equal(process_await_end(lives, 5000, &status), 1);
    by_signal = process_end_text(status);
    assert_string_equal(by_signal, "by signal 15 (Terminated)");
    end_child(lives);
}

static void own_process_is_read(void **state)
{
    struct process process = PROCESS_INIT;
    struct error error = ERROR_INIT;

    (void)state;
    assert_int_equal(process_read(getpid(), &process, &error), 0);
    assert_int_equal(process.pid, getpid());
    assert_int_equal(process.ppid, getppid());
    assert_int_equal(process.level_pids[0], getpid());
    assert_int_equal(process.threads, 1);
    assert_non_null(strstr(process.command, "test-proc-live"));
    assert_true(process.rss_bytes > 0);
    assert_true(process_alive(&process));
    process.start_time++;
    assert_false(process_alive(&process));
    process_done(&process);
    assert_int_equal(process_read(-1, &process, &error), -ESRCH);
    assert_true(error_is(&error, "process-gone"));
    error_done(&error);
}

static void directory_does_not_follow_a_reused_pid(void **state)
{
    CLEANUP(close_fd) int directory = -1;
    struct process process = PROCESS_INIT;
    struct error error = ERROR_INIT;
    pid_t pid = start_child();

    (void)state;
    assert_int_equal(process_open(pid, &directory, &error), 0);
    end_child(pid);
    assert_int_equal(process_read_at(directory, &process, &error), -ESRCH);
    assert_true(error_is(&error, "process-gone"));
    error_done(&error);
}

static void tree_has_root_and_descendants(void **state)
{
    struct process_tree tree = PROCESS_TREE_INIT;
    struct error error = ERROR_INIT;
    pid_t pid = start_child(), other = start_child();
    siginfo_t info;

    (void)state;
    assert_int_equal(process_tree_read(getpid(), &tree, &error), 0);
    assert_true(tree.settled);
    assert_int_equal(tree.count, 3);
    assert_int_equal(tree.processes[0].pid, getpid());
    assert_non_null(process_tree_find(&tree, pid));
    assert_non_null(process_tree_find(&tree, other));
    assert_null(process_tree_find(&tree, getppid()));
    process_tree_done(&tree);
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(process_tree_read(pid, &tree, &error), -ESRCH);
    error_done(&error);
    end_child(pid);
    end_child(other);
}

static void namespaces_of_relatives_agree(void **state)
{
    struct namespaces own, childs;
    struct error error = ERROR_INIT;
    pid_t pid = start_child(), seen = 0;

    (void)state;
    assert_int_equal(namespaces_read(getpid(), &own, &error), 0);
    assert_int_equal(namespaces_read(pid, &childs, &error), 0);
    assert_int_equal(namespaces_difference(&own, &childs), 0);
    childs.inode[NAMESPACE_NETWORK]++;
    assert_int_equal(namespaces_difference(&own, &childs), 1 << NAMESPACE_NETWORK);
    assert_int_equal(namespace_pid_to_outer(getpid(), pid, &seen, &error), 0);
    assert_int_equal(seen, pid);
    seen = 0;
    assert_int_equal(namespace_pid_to_inner(getpid(), pid, &seen, &error), 0);
    assert_int_equal(seen, pid);
    end_child(pid);
    assert_int_equal(namespace_pid_to_outer(getpid(), pid, &seen, &error), -ESRCH);
    error_done(&error);
}

/* The first process of a new pid namespace, seen from outside by its inner id 1. */
static void inner_ids_are_translated(void **state)
{
    struct error error = ERROR_INIT;
    pid_t middle = fork(), outer = 0, inner = 0;
    struct process_tree tree = PROCESS_TREE_INIT;

    (void)state;
    if (middle == 0) {
        if (unshare(CLONE_NEWPID) < 0)
            _exit(77);
        (void)start_child();
        for (;;)
            (void)pause();
    }
    for (int i = 0; i < 500 && tree.count < 2; i++) {
        process_tree_done(&tree);
        if (process_tree_read(middle, &tree, NULL) < 0)
            break;
        (void)usleep(10000);
    }
    if (tree.count == 2) {
        assert_int_equal(tree.processes[1].inner_pid, 1);
        assert_int_equal(tree.processes[1].pid_depth, tree.processes[0].pid_depth + 1);
        assert_int_equal(namespace_pid_to_outer(tree.processes[1].pid, 1, &outer, &error), 0);
        assert_int_equal(outer, tree.processes[1].pid);
        assert_int_equal(namespace_pid_to_inner(outer, outer, &inner, &error), 0);
        assert_int_equal(inner, 1);
        assert_int_equal(namespace_pid_to_inner(outer, middle, &inner, &error), -ESRCH);
        error_done(&error);
        (void)kill(outer, SIGKILL);
    }
    process_tree_done(&tree);
    (void)kill(middle, SIGKILL);
    (void)waitpid(middle, NULL, 0);
    if (!outer)
        skip();
}

static const struct descriptor *find(const struct descriptor_table *table, int fd)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->descriptors[i].fd == fd)
            return &table->descriptors[i];
    }
    fail_msg("descriptor %d is missing", fd);
    return NULL;
}

static void descriptors_are_read(void **state)
{
    struct descriptor_table table = DESCRIPTOR_TABLE_INIT;
    struct error error = ERROR_INIT;
    char path[] = "/tmp/test-proc-live-XXXXXX";
    int file = mkstemp(path), pipes[2], pair[2];
    int event = eventfd(0, EFD_CLOEXEC), memory = memfd_create("a", MFD_CLOEXEC);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), directory = open("/", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(write(file, "abc", 3), 3);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(descriptor_table_read(getpid(), &table, &error), 0);
    assert_int_equal(find(&table, file)->kind, DESCRIPTOR_FILE);
    assert_true(find(&table, file)->deleted);
    assert_int_equal(find(&table, file)->links, 0);
    assert_int_equal(find(&table, file)->position, 3);
    assert_int_equal(find(&table, file)->size, 3);
    assert_int_equal(find(&table, pipes[0])->kind, DESCRIPTOR_PIPE);
    assert_int_equal(find(&table, pipes[0])->inode, find(&table, pipes[1])->inode);
    assert_int_equal(find(&table, pipes[1])->flags & O_ACCMODE, O_WRONLY);
    assert_string_equal(find(&table, pair[0])->protocol, "UNIX-STREAM");
    assert_int_equal(find(&table, event)->kind, DESCRIPTOR_EVENTFD);
    assert_int_equal(find(&table, memory)->kind, DESCRIPTOR_MEMFD);
    assert_true(find(&table, memory)->flags & O_CLOEXEC);
    assert_int_equal(find(&table, null)->kind, DESCRIPTOR_CHARACTER_DEVICE);
    assert_int_equal(find(&table, directory)->kind, DESCRIPTOR_DIRECTORY);
    descriptor_table_done(&table);
    for (int i = 0; i < 2; i++) {
        (void)close(pipes[i]);
        (void)close(pair[i]);
    }
    (void)close(file);
    (void)close(event);
    (void)close(memory);
    (void)close(null);
    (void)close(directory);
}

static void sockets_find_their_peers(void **state)
{
    struct socket_table table = SOCKET_TABLE_INIT;
    struct error error = ERROR_INIT;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2], client, server;
    struct stat a, b, c, s;

    (void)state;
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    server = accept(listener, NULL, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(
        fstat(pair[0], &a) | fstat(pair[1], &b) | fstat(client, &c) | fstat(server, &s), 0);
    assert_int_equal(socket_table_read(getpid(), &table, &error), 0);
    assert_int_equal(socket_table_find(&table, a.st_ino)->state, SOCKET_ESTABLISHED);
    if (table.peers_known)
        assert_int_equal(socket_table_find(&table, a.st_ino)->peer, b.st_ino);
    assert_ptr_equal(socket_table_tcp_peer(&table, socket_table_find(&table, c.st_ino)),
                     socket_table_find(&table, s.st_ino));
    socket_table_done(&table);
    (void)close(listener);
    (void)close(client);
    (void)close(server);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static void owners_are_found(void **state)
{
    struct process_tree tree = PROCESS_TREE_INIT;
    struct error error = ERROR_INIT;
    pid_t pid, owners[2];
    uint64_t inodes[2];
    struct stat st;
    int pipes[2];

    (void)state;
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid = start_child();
    assert_int_equal(fstat(pipes[0], &st), 0);
    inodes[0] = st.st_ino;
    inodes[1] = UINT64_MAX;
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    descriptor_owners_find("pipe", inodes, 2, NULL, owners);
    assert_int_equal(owners[0], pid);
    assert_int_equal(owners[1], 0);
    assert_int_equal(process_tree_read(pid, &tree, &error), 0);
    descriptor_owners_find("pipe", inodes, 2, &tree, owners);
    assert_int_equal(owners[0], 0);
    process_tree_done(&tree);
    end_child(pid);
}

static void memory_and_mounts_are_read(void **state)
{
    struct mapping_table mappings = MAPPING_TABLE_INIT;
    struct mount_table mounts = MOUNT_TABLE_INIT;
    struct memory_totals totals = {0};
    struct error error = ERROR_INIT;
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool found = false;

    (void)state;
    assert_true(shared != MAP_FAILED);
    assert_int_equal(mapping_table_read(getpid(), &mappings, &error), 0);
    for (size_t i = 0; i < mappings.count; i++) {
        if (mappings.mappings[i].start <= (uintptr_t)shared &&
            (uintptr_t)shared < mappings.mappings[i].end)
            found = mappings.mappings[i].kind == MAPPING_SHARED_ANONYMOUS;
    }
    assert_true(found);
    mapping_table_done(&mappings);
    assert_int_equal(memory_totals_read(getpid(), &totals, &error), 0);
    assert_true(totals.resident > 0 && totals.proportional <= totals.resident);
    assert_int_equal(mount_table_read(getpid(), &mounts, &error), 0);
    assert_string_equal(mount_table_holder(&mounts, "/proc/self")->type, "proc");
    mount_table_done(&mounts);
    (void)munmap(shared, 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_process_is_read),
        cmocka_unit_test(end_is_seen_before_the_parent_looks),
        cmocka_unit_test(directory_does_not_follow_a_reused_pid),
        cmocka_unit_test(tree_has_root_and_descendants),
        cmocka_unit_test(namespaces_of_relatives_agree),
        cmocka_unit_test(inner_ids_are_translated),
        cmocka_unit_test(descriptors_are_read),
        cmocka_unit_test(sockets_find_their_peers),
        cmocka_unit_test(owners_are_found),
        cmocka_unit_test(memory_and_mounts_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
