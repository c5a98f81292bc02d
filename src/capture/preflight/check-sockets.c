/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: with whom the tree talks, and in which ways that CRIU does not know. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"
#include "proc/parse.h"

static const struct process *process_of(const struct inspection *inspection,
                                        const struct inspected_inode *place)
{
    return inspection->processes[place->process].process;
}

static const struct descriptor *descriptor_of(const struct inspection *inspection,
                                              const struct inspected_inode *place)
{
    return &inspection->processes[place->process].descriptors.descriptors[place->descriptor];
}

/* ---- unix ---- */

/* The last remark: who has the other end, or that nobody visible has. */
static void peer_found(struct inspection *inspection, const struct inspected_inode *place,
                       const struct socket_entry *entry)
{
    const struct socket_entry *peer = socket_table_find(&inspection->sockets, entry->peer);
    const char *name = entry->name          ? entry->name
                       : peer && peer->name ? peer->name
                                            : "without a name";
    bool datagram = entry->type == SOCK_DGRAM;
    CLEANUP(free_ptr) char *owner = NULL;
    uint64_t inode = entry->peer;
    pid_t pid = 0;

    descriptor_owners_find("socket", &inode, 1, &inspection->tree, &pid);
    owner = pid ? process_text(pid) : NULL;
    if (datagram && peer && peer->name)
        finding_add(inspection, "unix-datagram-outside", PREFLIGHT_WARN,
                    process_of(inspection, place), NULL,
                    "descriptor %d sends to the unix socket %s of process %s, outside of the tree",
                    descriptor_of(inspection, place)->fd, peer->name, owner ? owner : "(unknown)");
    else if (owner)
        finding_add(inspection, "unix-peer-outside", PREFLIGHT_REFUSE,
                    process_of(inspection, place), NULL,
                    "descriptor %d is a unix socket (%s) whose other end is held by process %s, "
                    "outside of the tree",
                    descriptor_of(inspection, place)->fd, name, owner);
    else
        finding_add(inspection, "unix-peer-outside", PREFLIGHT_WARN, process_of(inspection, place),
                    NULL,
                    "descriptor %d is a unix socket (%s) whose other end no visible process holds",
                    descriptor_of(inspection, place)->fd, name);
}

static void check_unix_listener(struct inspection *inspection, const struct inspected_inode *place,
                                const struct socket_entry *entry)
{
    for (size_t i = 0; i < entry->pending_count; i++) {
        if (entry->pending[i] != 0)
            continue;
        finding_add(inspection, "unix-backlog-closed", PREFLIGHT_REFUSE,
                    process_of(inspection, place), NULL,
                    "descriptor %d listens on %s, where a client waits that has closed its end "
                    "already",
                    descriptor_of(inspection, place)->fd, entry->name ? entry->name : "(no name)");
        return;
    }
}

void check_unix_sockets(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->socket_count; i++) {
        const struct inspected_inode *place = &inspection->socket_inodes[i];
        const struct socket_entry *entry = socket_table_find(&inspection->sockets, place->inode);

        if (!entry || entry->family != AF_UNIX)
            continue;
        if (entry->state == SOCKET_LISTENING)
            check_unix_listener(inspection, place, entry);
        else if (entry->peer && !inspection_socket(inspection, entry->peer))
            peer_found(inspection, place, entry);
    }
    if (inspection->socket_count && !inspection->sockets.peers_known)
        finding_add(inspection, "sockets-unknown", PREFLIGHT_WARN, NULL, NULL,
                    "the kernel does not tell here how unix sockets are connected");
}

/* ---- TCP, UDP and the rest ---- */

/* Those that CRIU 4.2.1 saves, as the kernel names them ("" where it does not tell). */
static const char *const known_protocols[] = {
    "",         "UNIX",      "UNIX-STREAM", "UNIX-DGRAM", "TCP",  "TCPv6",  "UDP",     "UDPv6",
    "UDP-Lite", "UDPLITEv6", "RAW",         "RAWv6",      "PING", "PINGv6", "NETLINK", "PACKET",
};

static bool protocol_known(const char *protocol)
{
    for (size_t i = 0; i < sizeof known_protocols / sizeof known_protocols[0]; i++) {
        if (text_equal(known_protocols[i], protocol))
            return true;
    }
    return false;
}

static bool is_tcp(const struct socket_entry *entry)
{
    return entry->family != AF_UNIX && entry->type == SOCK_STREAM;
}

static enum preflight_level outside_level(enum tcp_policy policy)
{
    return policy == TCP_REFUSE  ? PREFLIGHT_REFUSE
           : policy == TCP_CLOSE ? PREFLIGHT_NOTE
                                 : PREFLIGHT_WARN;
}

static void check_connection(struct inspection *inspection, const struct inspected_inode *place,
                             const struct socket_entry *entry)
{
    const struct socket_entry *peer = socket_table_tcp_peer(&inspection->sockets, entry);
    /* Inode 0: not accepted yet (told as the listener's backlog), or closed already. */
    bool inside = peer && (peer->inode == 0 || inspection_socket(inspection, peer->inode));
    enum tcp_policy policy = inspection->request->tcp;
    CLEANUP(free_ptr) char *local = socket_local_text(entry);
    CLEANUP(free_ptr) char *remote = socket_remote_text(entry);

    if (!inside)
        finding_add(inspection, "tcp-outside", outside_level(policy), process_of(inspection, place),
                    NULL, "descriptor %d is a TCP connection from %s to %s, outside of the tree",
                    descriptor_of(inspection, place)->fd, local, remote);
    else if (policy == TCP_REFUSE)
        finding_add(inspection, "tcp-connection", PREFLIGHT_REFUSE, process_of(inspection, place),
                    NULL, "descriptor %d is a TCP connection from %s to %s",
                    descriptor_of(inspection, place)->fd, local, remote);
}

static void check_tcp(struct inspection *inspection, const struct inspected_inode *place,
                      const struct socket_entry *entry)
{
    CLEANUP(free_ptr) char *local = NULL;

    if (entry->state == SOCKET_CLOSED)
        return;
    if (entry->state != SOCKET_LISTENING) {
        check_connection(inspection, place, entry);
        return;
    }
    if (entry->receive_queue == 0 || inspection->request->skip_in_flight)
        return;
    local = socket_local_text(entry);
    finding_add(inspection, "tcp-backlog", PREFLIGHT_REFUSE, process_of(inspection, place), NULL,
                "descriptor %d listens on %s, where %u connections wait to be accepted",
                descriptor_of(inspection, place)->fd, local, entry->receive_queue);
}

static bool is_loopback_or_any(const uint8_t address[16])
{
    static const uint8_t zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t loopback[16] = {[15] = 1};

    if (memcmp(address, mapped, sizeof mapped) == 0)
        return address[12] == 127 || memcmp(address + 12, zero, 4) == 0;
    return memcmp(address, zero, 16) == 0 || memcmp(address, loopback, 16) == 0;
}

static void check_address(struct inspection *inspection, const struct inspected_inode *place,
                          const struct socket_entry *entry)
{
    CLEANUP(free_ptr) char *local = NULL;

    if (entry->local_port == 0 || is_loopback_or_any(entry->local))
        return;
    local = socket_local_text(entry);
    finding_add(inspection, "bound-address", PREFLIGHT_NOTE, process_of(inspection, place), NULL,
                "descriptor %d is bound to %s", descriptor_of(inspection, place)->fd, local);
}

/* Bytes that wait in a netlink socket, by /proc/<pid>/net/netlink. */
static uint64_t netlink_waiting(char *text, uint64_t inode)
{
    char *line = parse_line(&text);

    while ((line = parse_line(&text))) {
        char *fields[10];
        uint64_t waiting, number;
        size_t count = 0;

        while (count < 10 && (fields[count] = parse_field(&line)))
            count++;
        if (count == 10 && parse_number(fields[9], 10, &number) == 0 && number == inode &&
            parse_number(fields[4], 10, &waiting) == 0)
            return waiting;
    }
    return 0;
}

static void check_netlink(struct inspection *inspection, const struct inspected_inode *place)
{
    CLEANUP(free_ptr) char *text = NULL;

    if (file_read(inspection->processes[place->process].directory, "net/netlink", PROC_TEXT_MAX,
                  &text, NULL) == 0 &&
        netlink_waiting(text, place->inode) > 0)
        finding_add(inspection, "netlink-data", PREFLIGHT_WARN, process_of(inspection, place), NULL,
                    "descriptor %d is a netlink socket with messages that nobody has read",
                    descriptor_of(inspection, place)->fd);
}

void check_connections(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->socket_count; i++) {
        const struct inspected_inode *place = &inspection->socket_inodes[i];
        const struct socket_entry *entry = socket_table_find(&inspection->sockets, place->inode);
        const struct descriptor *descriptor = descriptor_of(inspection, place);

        if (!protocol_known(descriptor->protocol))
            finding_add(inspection, "socket-family", PREFLIGHT_REFUSE,
                        process_of(inspection, place), NULL, "descriptor %d is a socket of kind %s",
                        descriptor->fd, descriptor->protocol);
        else if (text_equal(descriptor->protocol, "NETLINK"))
            check_netlink(inspection, place);
        if (!entry || entry->family == AF_UNIX)
            continue;
        if (is_tcp(entry))
            check_tcp(inspection, place, entry);
        check_address(inspection, place, entry);
    }
}
