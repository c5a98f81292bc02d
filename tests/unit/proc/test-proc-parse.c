/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of src/proc, with recorded texts and with texts that no kernel would write. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "basic/text.h"
#include "proc/descriptors.h"
#include "proc/ending.h"
#include "proc/maps.h"
#include "proc/mounts.h"
#include "proc/parse.h"
#include "proc/process.h"
#include "proc/sockets.h"

static const char stat_text[] =
    "1472 (py) 3 (x) S 1202 1472 1400 34817 -1 4194304 2386 0 0 0 3 1 0 0 20 -5 7 0 98765 "
    "25722880 3742 18446744073709551615 1 1 0 0 0 0 0 16781312 2 0 0 0 17 1 0 0 0 0 0 0 0 0\n";

static const char status_text[] =
    "Name:\tpython3\nState:\tS (sleeping)\nTgid:\t1472\nPid:\t1472\n"
    "TracerPid:\t77\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\n"
    "NStgid:\t1472\t33\t1\nNSpid:\t1472\t33\t1\nNSpgid:\t1472\t33\t2\n"
    "NSsid:\t1400\t0\t3\nVmRSS:\t   14968 kB\nRssAnon:\t     100 kB\n"
    "RssShmem:\t       4 kB\nVmSwap:\t       8 kB\nThreads:\t7\n"
    "SigPnd:\t0000000000000002\nShdPnd:\t0000000000004000\nSigBlk:\t0000000000000001\n"
    "CapEff:\t000001fffeffffff\nSeccomp:\t2\n";

static const char mount_text[] =
    "24 29 0:5 / /dev rw,relatime shared:2 - devtmpfs devtmpfs rw,size=12334492k\n"
    "29 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "30 29 0:40 /a\\040b /mnt/with\\040blank\\134x rw master:3 propagate_from:2 unbindable - tmpfs "
    "none rw\n"
    "31 24 0:41 / /dev/shm rw shared:7 master:1 - tmpfs  rw\n";

static const char maps_text[] =
    "00400000-00401000 r--p 00000000 fe:00 1053 /usr/bin/with blank\n"
    "01c6d000-01c8e000 rw-p 00000000 00:00 0 [heap]\n"
    "7f0000000000-7f0000001000 rw-s 00000000 00:01 5 /dev/zero (deleted)\n"
    "7f0000002000-7f0000003000 rw-s 00000000 00:01 12 /memfd:a (deleted)\n"
    "7f0000004000-7f0000005000 rw-s 00000000 00:01 32769 /SYSV00000000 (deleted)\n"
    "7f0000006000-7f0000007000 rw-s 00000000 00:05 90 /dev/nvidia0\n"
    "7f0000008000-7f0000009000 rw-p 00000000 00:00 0 \n"
    "7f000000a000-7f000000b000 rw-s 10000000 00:0f 11 anon_inode:[io_uring]\n"
    "7f000000c000-7f000000d000 rw-p 00001000 fe:00 77 /tmp/x\\012y (deleted)\n"
    "7f000000e000-7f000000f000 rw-s 00000000 00:1b 2 /dev/shm/sem.a\n"
    "7f0000010000-7f0000011000 rw-s 00000000 00:01 9 /anon_hugepage (deleted)\n"
    "7f0000012000-7f0000013000 rw-s 00000000 00:08 9 socket:[9]\n"
    "7f0000014000-7f0000015000 rw-p 00000000 00:00 0 [anon:name]\n"
    "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n"
    "7ffc00100000-7ffc00102000 r-xp 00000000 00:00 0 [vdso]\n";

static const char tcp_text[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 "
    "71483 1 ffff 100 0 0 10 0\n"
    "   1: 0100007F:1F90 0100007F:E93C 01 00000001:00000002 00:00000000 00000000     0        0 "
    "71485 1 ffff 20 4 30 10 -1\n"
    "   2: 0100007F:E93C 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 "
    "71484 1 ffff 20 4 30 10 -1\n"
    "   3: 0100007F:E93E 0100007F:1F90 06 00000000:00000000 00:00000000 00000000     0        0 "
    "0 1 ffff 20 4 30 10 -1\n";

static const char unix_text[] = "Num       RefCount Protocol Flags    Type St Inode Path\n"
                                "ffff8880: 00000002 00000000 00010000 0001 01 17213 /run/a b\n"
                                "ffff8881: 00000003 00000000 00000000 0001 03 17214\n"
                                "ffff8882: 00000002 00000000 00000000 0002 01 17215 @abstract\n";

static void stat_is_read(void **state)
{
    struct process process = PROCESS_INIT;
    char *text = text_copy(stat_text);

    (void)state;
    assert_int_equal(process_parse_stat(text, &process), 0);
    assert_int_equal(process.pid, 1472);
    assert_string_equal(process.comm, "py) 3 (x");
    assert_int_equal(process.state, 'S');
    assert_int_equal(process.ppid, 1202);
    assert_int_equal(process.pgid, 1472);
    assert_int_equal(process.sid, 1400);
    assert_int_equal(process.terminal, 34817);
    assert_int_equal(process.threads, 7);
    assert_int_equal(process.start_time, 98765);
    assert_false(process.kernel_thread);
    free(text);
}

static void status_is_read(void **state)
{
    struct process process = PROCESS_INIT;
    char *text = text_copy(status_text);

    (void)state;
    assert_int_equal(process_parse_status(text, &process), 0);
    assert_int_equal(process.tracer, 77);
    assert_int_equal(process.pid_depth, 3);
    assert_int_equal(process.level_pids[0], 1472);
    assert_int_equal(process.level_pids[1], 33);
    assert_int_equal(process.inner_pid, 1);
    assert_int_equal(process.inner_pgid, 2);
    assert_int_equal(process.inner_sid, 3);
    assert_int_equal(process.uid, 1001);
    assert_int_equal(process.gid, 6);
    assert_int_equal(process.rss_bytes, 14968 * 1024);
    assert_int_equal(process.rss_anonymous_bytes, 100 * 1024);
    assert_int_equal(process.rss_shared_bytes, 4 * 1024);
    assert_int_equal(process.swap_bytes, 8 * 1024);
    assert_true(process.capabilities == 0x1fffeffffff);
    assert_int_equal(process.seccomp, 2);
    assert_int_equal(process.pending, 1 << (SIGINT - 1) | 1 << (SIGTERM - 1));
    assert_string_equal(signal_that_ends(process.pending), "SIGTERM");
    assert_string_equal(signal_that_ends(1 << (SIGINT - 1)), "SIGINT");
    assert_string_equal(signal_that_ends(1 << (SIGQUIT - 1)), "SIGQUIT");
    assert_null(signal_that_ends(1 << (SIGHUP - 1) | 1 << (SIGUSR1 - 1)));
    free(text);
}

static void bad_stat_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "1",
        "1 (",
        "1 (a",
        "(a) S",
        "x (a) S 1 2 3",
        "1 (a) S",
        "1 (a) SS 1",
        "1 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18",
        ")(",
        "1 )a( S 1",
        "99999999999 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19",
        "1 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99999999999999999999",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct process process = PROCESS_INIT;
        char *text = text_copy(bad[i]);

        assert_int_equal(process_parse_stat(text, &process), -EINVAL);
        free(text);
    }
}

static void too_many_levels_are_refused(void **state)
{
    struct process process = PROCESS_INIT;
    struct buffer text = BUFFER_INIT(4096);

    (void)state;
    assert_int_equal(buffer_printf(&text, "NSpid:"), 0);
    for (int i = 0; i <= PROCESS_PID_LEVELS; i++)
        assert_int_equal(buffer_printf(&text, "\t%d", i + 1), 0);
    assert_int_equal(process_parse_status(text.data, &process), -EINVAL);
    buffer_done(&text);
}

static void command_can_not_steer_a_terminal(void **state)
{
    struct process process = {.comm = "name"};
    char arguments[] = "a\0b\nc\0\033[2J\0";

    (void)state;
    process_parse_command(arguments, sizeof arguments, &process);
    assert_string_equal(process.command, "a b c  [2J");
    process_parse_command(arguments, 0, &process);
    assert_string_equal(process.command, "[name]");
    process_done(&process);
}

static void mounts_are_read(void **state)
{
    struct mount_table table = MOUNT_TABLE_INIT;

    (void)state;
    assert_int_equal(mount_table_parse(text_copy(mount_text), &table), 0);
    assert_int_equal(table.count, 4);
    assert_int_equal(table.mounts[0].shared, 2);
    assert_string_equal(table.mounts[0].type, "devtmpfs");
    assert_true(table.mounts[1].device == makedev(254, 0));
    assert_string_equal(table.mounts[2].root, "/a b");
    assert_string_equal(table.mounts[2].point, "/mnt/with blank\\x");
    assert_int_equal(table.mounts[2].master, 3);
    assert_int_equal(table.mounts[2].propagate_from, 2);
    assert_true(table.mounts[2].unbindable);
    assert_string_equal(table.mounts[3].source, "");
    assert_string_equal(table.mounts[3].super_options, "rw");
    assert_int_equal(mount_table_holder(&table, "/dev/shm/sem.x")->id, 31);
    assert_int_equal(mount_table_holder(&table, "/dev/shmx")->id, 24);
    assert_int_equal(mount_table_holder(&table, "/home")->id, 29);
    assert_null(mount_table_find(&table, 99));
    mount_table_done(&table);
}

static void bad_mounts_are_refused(void **state)
{
    static const char *const bad[] = {
        "1\n",
        "1 2 0:5\n",
        "1 2 0:5 / / rw\n",
        "1 2 0:5 / / rw -\n",
        "1 2 0:5 / / rw - tmpfs\n",
        "1 2 05 / / rw - a b c\n",
        "x 2 0:5 / / rw - a b c\n",
        "\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mount_table table = MOUNT_TABLE_INIT;
        char *text = text_copy(bad[i]);

        assert_int_equal(mount_table_parse(text, &table), -EINVAL);
        free(text);
    }
}

static void maps_are_read(void **state)
{
    static const enum mapping_kind kinds[] = {
        MAPPING_FILE,         MAPPING_HEAP,   MAPPING_SHARED_ANONYMOUS, MAPPING_MEMFD,
        MAPPING_SYSV,         MAPPING_DEVICE, MAPPING_ANONYMOUS,        MAPPING_ANON_INODE,
        MAPPING_DELETED_FILE, MAPPING_FILE,   MAPPING_HUGETLB,          MAPPING_SOCKET,
        MAPPING_ANONYMOUS,    MAPPING_STACK,  MAPPING_KERNEL,
    };
    struct mapping_table table = MAPPING_TABLE_INIT;

    (void)state;
    assert_int_equal(mapping_table_parse(text_copy(maps_text), &table), 0);
    assert_int_equal(table.count, sizeof kinds / sizeof kinds[0]);
    for (size_t i = 0; i < table.count; i++)
        assert_int_equal(table.mappings[i].kind, kinds[i]);
    assert_string_equal(table.mappings[0].name, "/usr/bin/with blank");
    assert_true(table.mappings[0].readable && !table.mappings[0].writable);
    assert_true(table.mappings[0].device == makedev(0xfe, 0));
    assert_true(table.mappings[2].shared);
    assert_int_equal(table.mappings[4].inode, 32769);
    assert_int_equal(table.mappings[7].offset, 0x10000000);
    assert_string_equal(table.mappings[8].name, "/tmp/x\ny (deleted)");
    mapping_table_done(&table);
}

static void bad_maps_are_refused(void **state)
{
    static const char *const bad[] = {
        "x\n",
        "1000-2000\n",
        "2000-1000 r--p 0 0:0 0\n",
        "1000-2000 r--p 0 0:0 x\n",
        "1000-2000 r--px 0 0:0 0\n",
        "10002000 r--p 0 0:0 0\n",
        "11111111111111111-2000 r--p 0 0:0 0\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mapping_table table = MAPPING_TABLE_INIT;
        char *text = text_copy(bad[i]);

        assert_int_equal(mapping_table_parse(text, &table), -EINVAL);
        free(text);
    }
}

static void totals_are_read(void **state)
{
    char text[] = "00400000-7fff0000 ---p 00000000 00:00 0 [rollup]\nRss:    100 kB\nPss:  50 kB\n"
                  "Pss_Anon:  10 kB\nSwap:   7 kB\nLocked:  99999999999999999999 kB\n";
    struct memory_totals totals;

    (void)state;
    memory_totals_parse(text, &totals);
    assert_int_equal(totals.resident, 100 * 1024);
    assert_int_equal(totals.proportional, 50 * 1024);
    assert_int_equal(totals.proportional_anonymous, 10 * 1024);
    assert_int_equal(totals.swapped, 7 * 1024);
    assert_true(totals.locked == UINT64_MAX);
}

static void descriptor_targets_are_told_apart(void **state)
{
    static const struct {
        const char *target;
        enum descriptor_kind kind;
        bool deleted;
    } cases[] = {
        {"/tmp/a", DESCRIPTOR_FILE, false},
        {"/tmp/a (deleted)", DESCRIPTOR_FILE, true},
        {"/memfd:a (deleted)", DESCRIPTOR_MEMFD, false},
        {"pipe:[7]", DESCRIPTOR_PIPE, false},
        {"socket:[7]", DESCRIPTOR_SOCKET, false},
        {"anon_inode:[eventpoll]", DESCRIPTOR_EPOLL, false},
        {"anon_inode:[eventfd]", DESCRIPTOR_EVENTFD, false},
        {"anon_inode:[io_uring]", DESCRIPTOR_IO_URING, false},
        {"anon_inode:[userfaultfd]", DESCRIPTOR_USERFAULTFD, false},
        {"anon_inode:bpf-map", DESCRIPTOR_BPF, false},
        {"anon_inode:kvm-vcpu:0", DESCRIPTOR_KVM, false},
        {"anon_inode:inotify", DESCRIPTOR_INOTIFY, false},
        {"anon_inode:[pidfd]", DESCRIPTOR_PIDFD, false},
        {"net:[4026531840]", DESCRIPTOR_NAMESPACE, false},
        {"anon_inode:[landlock-ruleset]", DESCRIPTOR_OTHER, false},
        {"", DESCRIPTOR_OTHER, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct descriptor descriptor = {0};

        descriptor_parse_target(cases[i].target, &descriptor);
        assert_int_equal(descriptor.kind, cases[i].kind);
        assert_int_equal(descriptor.deleted, cases[i].deleted);
    }
}

static void descriptor_info_is_read(void **state)
{
    char text[] = "pos:\t4096\nflags:\t02100002\nmnt_id:\t27\nino:\t5\nPid:\t-1\n"
                  "lock:\t1: FLOCK  ADVISORY  WRITE 1 fe:00:5 0 EOF\n";
    char bad[] = "flags:\t9\n";
    struct descriptor descriptor = {0};

    (void)state;
    assert_int_equal(descriptor_parse_info(text, &descriptor), 0);
    assert_int_equal(descriptor.position, 4096);
    assert_int_equal(descriptor.flags, 02100002);
    assert_int_equal(descriptor.mount, 27);
    assert_int_equal(descriptor.other, -1);
    assert_true(descriptor.locked);
    assert_int_equal(descriptor_parse_info(bad, &descriptor), -EINVAL);
}

static void drivers_are_found(void **state)
{
    static const char devices[] = "Character devices:\n  1 mem\n195 nvidia\n506 gdrdrv\n\n"
                                  "Block devices:\n  7 loop\n";
    char *text = text_copy(devices), *name = device_parse_driver_name(text, 506);

    (void)state;
    assert_string_equal(name, "gdrdrv");
    free(name);
    free(text);
    text = text_copy(devices);
    assert_null(device_parse_driver_name(text, 7));
    free(text);
}

static void inet_table_is_read(void **state)
{
    struct socket_table table = SOCKET_TABLE_INIT;
    char *text = text_copy(tcp_text), *local;
    const struct socket_entry *server, *client;

    (void)state;
    assert_int_equal(socket_parse_inet(text, AF_INET, SOCK_STREAM, &table), 0);
    socket_table_sort(&table);
    assert_int_equal(table.count, 3);
    server = socket_table_find(&table, 71485);
    client = socket_table_find(&table, 71484);
    assert_ptr_equal(socket_table_tcp_peer(&table, server), client);
    assert_ptr_equal(socket_table_tcp_peer(&table, client), server);
    assert_int_equal(server->send_queue, 1);
    assert_int_equal(server->receive_queue, 2);
    assert_int_equal(socket_table_find(&table, 71483)->state, SOCKET_LISTENING);
    assert_null(socket_table_tcp_peer(&table, socket_table_find(&table, 71483)));
    local = socket_local_text(server);
    assert_string_equal(local, "127.0.0.1:8080");
    free(local);
    assert_null(socket_table_find(&table, 0));
    assert_null(socket_table_find(&table, UINT64_C(1) << 40));
    socket_table_done(&table);
    free(text);
}

static void unix_table_is_read(void **state)
{
    struct socket_table table = SOCKET_TABLE_INIT;
    char *text = text_copy(unix_text);

    (void)state;
    assert_int_equal(socket_parse_unix(text, &table), 0);
    socket_table_sort(&table);
    assert_int_equal(table.count, 3);
    assert_int_equal(table.entries[0].state, SOCKET_LISTENING);
    assert_string_equal(table.entries[0].name, "/run/a b");
    assert_int_equal(table.entries[1].state, SOCKET_ESTABLISHED);
    assert_null(table.entries[1].name);
    assert_int_equal(table.entries[2].type, SOCK_DGRAM);
    socket_table_done(&table);
    free(text);
}

struct unix_answer {
    struct nlmsghdr header;
    struct unix_diag_msg message;
    struct rtattr peer_header;
    uint32_t peer;
    struct rtattr name_header;
    char name[8];
    struct nlmsghdr done;
    int result;
};

static const struct unix_answer unix_answer = {
    .header = {.nlmsg_len = offsetof(struct unix_answer, done), .nlmsg_type = SOCK_DIAG_BY_FAMILY},
    .message = {.udiag_family = AF_UNIX,
                .udiag_type = SOCK_STREAM,
                .udiag_state = 1,
                .udiag_ino = 42},
    .peer_header = {.rta_len = sizeof(struct rtattr) + 4, .rta_type = UNIX_DIAG_PEER},
    .peer = 43,
    .name_header = {.rta_len = sizeof(struct rtattr) + 8, .rta_type = UNIX_DIAG_NAME},
    .name = "\0ab\033def",
    .done = {.nlmsg_len = sizeof(struct nlmsghdr) + 4, .nlmsg_type = NLMSG_DONE},
};

static void netlink_answer_is_read(void **state)
{
    struct socket_table table = SOCKET_TABLE_INIT;
    bool done = false;

    (void)state;
    assert_int_equal(socket_parse_messages(&unix_answer, sizeof unix_answer, 0, &table, &done), 0);
    assert_true(done);
    assert_int_equal(table.count, 1);
    assert_int_equal(table.entries[0].inode, 42);
    assert_int_equal(table.entries[0].peer, 43);
    assert_string_equal(table.entries[0].name, "@ab?def");
    socket_table_done(&table);
}

static void netlink_error_is_passed_on(void **state)
{
    struct socket_table table = SOCKET_TABLE_INIT;
    struct unix_answer answer = unix_answer;
    bool done = false;

    (void)state;
    answer.done.nlmsg_type = NLMSG_ERROR;
    answer.result = -EPERM;
    assert_int_equal(socket_parse_messages(&answer, sizeof answer, 0, &table, &done), -EPERM);
    socket_table_done(&table);
    answer = unix_answer;
    answer.header.nlmsg_flags = NLM_F_DUMP_INTR;
    assert_int_equal(socket_parse_messages(&answer, sizeof answer, 0, &table, &done), -EAGAIN);
    answer.header.nlmsg_len = 0xffffff;
    assert_int_equal(socket_parse_messages(&answer, sizeof answer, 0, &table, &done), -EBADMSG);
    socket_table_done(&table);
}

/* ---- hostile texts: nothing to expect but that the sanitizers stay silent ---- */

static uint64_t random_state = 88172645463325252;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void damage(char *data, size_t length)
{
    static const char interesting[] = "\0\n\t :()-[]/\\0123456789abcdefx@\377";
    size_t changes = 1 + next_random() % 6;

    while (changes-- > 0)
        data[next_random() % length] = interesting[next_random() % (sizeof interesting - 1)];
}

static void parse_everything(char *text)
{
    struct process process = PROCESS_INIT;
    struct descriptor descriptor = {0};
    struct memory_totals totals;
    struct mount_table mounts = MOUNT_TABLE_INIT;
    struct mapping_table mappings = MAPPING_TABLE_INIT;
    struct socket_table sockets = SOCKET_TABLE_INIT;
    char *copies[9];

    for (size_t i = 0; i < 9; i++)
        copies[i] = text_copy(text);
    (void)process_parse_stat(copies[0], &process);
    (void)process_parse_status(copies[1], &process);
    (void)descriptor_parse_info(copies[2], &descriptor);
    memory_totals_parse(copies[3], &totals);
    free(device_parse_driver_name(copies[4], 7));
    (void)socket_parse_inet(copies[5], AF_INET, SOCK_STREAM, &sockets);
    (void)socket_parse_unix(copies[6], &sockets);
    if (mount_table_parse(copies[7], &mounts) == 0)
        copies[7] = NULL;
    if (mapping_table_parse(copies[8], &mappings) == 0)
        copies[8] = NULL;
    for (size_t i = 0; i < 9; i++)
        free(copies[i]);
    process_done(&process);
    mount_table_done(&mounts);
    mapping_table_done(&mappings);
    socket_table_done(&sockets);
}

static void damaged_texts_do_no_harm(void **state)
{
    static const char *const samples[] = {stat_text, status_text, mount_text,
                                          maps_text, tcp_text,    unix_text};

    (void)state;
    for (int round = 0; round < 3000; round++) {
        const char *sample = samples[next_random() % (sizeof samples / sizeof samples[0])];
        char *text = text_copy(sample);

        damage(text, strlen(sample));
        parse_everything(text);
        free(text);
    }
}

static void damaged_messages_do_no_harm(void **state)
{
    (void)state;
    for (int round = 0; round < 5000; round++) {
        struct socket_table table = SOCKET_TABLE_INIT;
        size_t length = 1 + next_random() % sizeof unix_answer;
        char *data = allocate(length);
        bool done;

        memcpy(data, &unix_answer, length);
        for (size_t changes = next_random() % 4; changes > 0; changes--)
            data[next_random() % length] = (char)next_random();
        (void)socket_parse_messages(data, length, round % 2 ? SOCK_STREAM : 0, &table, &done);
        socket_table_done(&table);
        free(data);
    }
}

static void numbers_are_whole(void **state)
{
    uint64_t value = 7;
    pid_t pid = 7;
    dev_t device;

    (void)state;
    assert_int_equal(parse_number("ffffffffffffffff", 16, &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(parse_number("10000000000000000", 16, &value), -ERANGE);
    assert_int_equal(parse_number("12a", 10, &value), -EINVAL);
    assert_int_equal(parse_number("", 10, &value), -EINVAL);
    assert_int_equal(parse_number(NULL, 10, &value), -EINVAL);
    assert_int_equal(parse_pid("-1", &pid), -EINVAL);
    assert_int_equal(parse_pid("4294967296", &pid), -ERANGE);
    assert_int_equal(pid, 7);
    assert_int_equal(parse_device("1:2:3", 10, &device), -EINVAL);
    assert_int_equal(parse_device("12345678901234567:2", 10, &device), -EINVAL);
}

static void escapes_are_undone(void **state)
{
    char text[] = "a\\040b\\011\\000\\\\9\\12";

    (void)state;
    parse_unescape(text);
    assert_string_equal(text, "a b\t\\000\\\\9\\12");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_whole),
        cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(stat_is_read),
        cmocka_unit_test(status_is_read),
        cmocka_unit_test(bad_stat_is_refused),
        cmocka_unit_test(too_many_levels_are_refused),
        cmocka_unit_test(command_can_not_steer_a_terminal),
        cmocka_unit_test(mounts_are_read),
        cmocka_unit_test(bad_mounts_are_refused),
        cmocka_unit_test(maps_are_read),
        cmocka_unit_test(bad_maps_are_refused),
        cmocka_unit_test(totals_are_read),
        cmocka_unit_test(descriptor_targets_are_told_apart),
        cmocka_unit_test(descriptor_info_is_read),
        cmocka_unit_test(drivers_are_found),
        cmocka_unit_test(inet_table_is_read),
        cmocka_unit_test(unix_table_is_read),
        cmocka_unit_test(netlink_answer_is_read),
        cmocka_unit_test(netlink_error_is_passed_on),
        cmocka_unit_test(damaged_texts_do_no_harm),
        cmocka_unit_test(damaged_messages_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
