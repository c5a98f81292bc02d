/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets of a network namespace: TCP, UDP (both families) and unix, with their states and
 * peers. Asked over netlink (sock_diag(7)) inside the namespace of the process; where that is
 * refused, read from /proc/<pid>/net, which does not know the peers of unix sockets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"
#include "proc/tree.h"

/* The kernel's numbers (enum in include/net/tcp_states.h); unix sockets use three of them. */
enum socket_state {
    SOCKET_ESTABLISHED = 1,
    SOCKET_SYN_SENT,
    SOCKET_SYN_RECEIVED,
    SOCKET_FIN_WAIT1,
    SOCKET_FIN_WAIT2,
    SOCKET_TIME_WAIT,
    SOCKET_CLOSED,
    SOCKET_CLOSE_WAIT,
    SOCKET_LAST_ACK,
    SOCKET_LISTENING,
    SOCKET_CLOSING,
};

struct socket_entry {
    int family;     /* AF_INET, AF_INET6, AF_UNIX */
    int type;       /* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET */
    int state;      /* enum socket_state; a number that is none of them is possible */
    uint32_t inode; /* 0: no descriptor (not yet accepted, or closed and lingering) */
    uint32_t receive_queue, send_queue;

    /* AF_INET and AF_INET6; IPv4 addresses in the mapped form (::ffff:a.b.c.d) */
    uint8_t local[16], remote[16];
    uint16_t local_port, remote_port;

    /* AF_UNIX */
    uint32_t peer;     /* inode; 0: none, or not known */
    char *name;        /* path; an abstract one starts with '@'; NULL: none; owned by the table */
    uint32_t *pending; /* of a listening one: inodes of the clients not yet accepted; owned */
    size_t pending_count;
};

struct socket_table {
    struct socket_entry *entries; /* by inode, ascending */
    size_t count;
    bool peers_known; /* of unix sockets */
};

#define SOCKET_TABLE_INIT ((struct socket_table){0})

/* A namespace with more sockets than this is refused with -EFBIG. */
#define SOCKET_TABLE_MAX ((size_t)1 << 20)

/* All sockets of the network namespace of `pid`. Without threads in this process: it may fork a
 * child that enters the namespace. */
int socket_table_read(pid_t pid, struct socket_table *ret, struct error *error);
void socket_table_done(struct socket_table *table);

/* NULL when `inode` is 0 or not in the table. */
const struct socket_entry *socket_table_find(const struct socket_table *table, uint64_t inode);

/* The other end of an established TCP connection when it is in the same namespace, else NULL. */
const struct socket_entry *socket_table_tcp_peer(const struct socket_table *table,
                                                 const struct socket_entry *entry);

/* "127.0.0.1:80", "[::1]:80", a unix name; the caller frees them. */
char *socket_local_text(const struct socket_entry *entry);
char *socket_remote_text(const struct socket_entry *entry);

/* For each of `inodes` (sockets or pipes, `prefix` being "socket" or "pipe") a process that has it
 * open and is not in `except` (may be NULL), or 0. Looks at all processes that this one may look
 * at. */
void descriptor_owners_find(const char *prefix, const uint64_t *inodes, size_t count,
                            const struct process_tree *except, pid_t *ret_pids);

/* The parsers. They add to `table` (not yet sorted); texts are changed. */
int socket_parse_messages(const void *data, size_t length, int type, struct socket_table *table,
                          bool *ret_done);
int socket_parse_inet(char *text, int family, int type, struct socket_table *table);
int socket_parse_unix(char *text, struct socket_table *table);
void socket_table_sort(struct socket_table *table);
