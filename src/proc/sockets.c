/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/leaf.h"
#include "basic/text.h"
#include "proc/namespaces.h"
#include "proc/parse.h"
#include "proc/process.h"

#define DUMP_ATTEMPTS 5

static void entry_done(struct socket_entry *entry)
{
    free(entry->name);
    free(entry->pending);
}

void socket_table_done(struct socket_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        entry_done(&table->entries[i]);
    free(table->entries);
    *table = SOCKET_TABLE_INIT;
}

/* Takes over what the entry owns, also on failure. */
static int table_add(struct socket_table *table, struct socket_entry *entry)
{
    struct socket_entry *grown = table->entries;
    int r = 0;

    if (table->count == SOCKET_TABLE_MAX) {
        r = -EFBIG;
    } else if ((table->count & (table->count - 1)) == 0) {
        size_t capacity = table->count ? 2 * table->count : 1;

        grown = realloc(table->entries, capacity * sizeof *grown);
        r = grown ? 0 : -ENOMEM;
    }
    if (r < 0) {
        entry_done(entry);
        return r;
    }
    table->entries = grown;
    table->entries[table->count++] = *entry;
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct socket_entry *left = a, *right = b;

    return (left->inode > right->inode) - (left->inode < right->inode);
}

void socket_table_sort(struct socket_table *table)
{
    if (table->count)
        qsort(table->entries, table->count, sizeof table->entries[0], compare_entries);
}

const struct socket_entry *socket_table_find(const struct socket_table *table, uint64_t inode)
{
    struct socket_entry key = {.inode = (uint32_t)inode};

    if (inode == 0 || inode > UINT32_MAX || table->count == 0)
        return NULL;
    return bsearch(&key, table->entries, table->count, sizeof key, compare_entries);
}

static bool is_inet(const struct socket_entry *entry)
{
    return entry->family == AF_INET || entry->family == AF_INET6;
}

const struct socket_entry *socket_table_tcp_peer(const struct socket_table *table,
                                                 const struct socket_entry *entry)
{
    if (!is_inet(entry) || entry->type != SOCK_STREAM || entry->state == SOCKET_LISTENING ||
        entry->state == SOCKET_CLOSED || entry->remote_port == 0)
        return NULL;
    for (size_t i = 0; i < table->count; i++) {
        const struct socket_entry *other = &table->entries[i];

        if (is_inet(other) && other->type == SOCK_STREAM &&
            other->local_port == entry->remote_port && other->remote_port == entry->local_port &&
            memcmp(other->local, entry->remote, sizeof other->local) == 0 &&
            memcmp(other->remote, entry->local, sizeof other->remote) == 0)
            return other;
    }
    return NULL;
}

static char *endpoint_text(const uint8_t address[16], uint16_t port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char text[INET6_ADDRSTRLEN] = "?";

    if (memcmp(address, mapped, sizeof mapped) == 0) {
        (void)inet_ntop(AF_INET, address + 12, text, sizeof text);
        return text_format("%s:%u", text, (unsigned)port);
    }
    (void)inet_ntop(AF_INET6, address, text, sizeof text);
    return text_format("[%s]:%u", text, (unsigned)port);
}

char *socket_local_text(const struct socket_entry *entry)
{
    if (is_inet(entry))
        return endpoint_text(entry->local, entry->local_port);
    return text_copy(entry->name ? entry->name : "(unnamed)");
}

char *socket_remote_text(const struct socket_entry *entry)
{
    if (is_inet(entry))
        return endpoint_text(entry->remote, entry->remote_port);
    return text_format("socket %u", entry->peer);
}

/* ---- netlink ---- */

static void copy_address(uint8_t to[16], int family, const void *from)
{
    memset(to, 0, 16);
    if (family == AF_INET6) {
        memcpy(to, from, 16);
    } else {
        to[10] = to[11] = 0xff;
        memcpy(to + 12, from, 4);
    }
}

static int add_inet_message(const void *data, size_t length, int type, struct socket_table *table)
{
    struct inet_diag_msg message;
    struct socket_entry entry = {.type = type};

    if (length < sizeof message)
        return -EBADMSG;
    memcpy(&message, data, sizeof message);
    if (message.idiag_family != AF_INET && message.idiag_family != AF_INET6)
        return -EBADMSG;
    entry.family = message.idiag_family;
    entry.state = message.idiag_state;
    entry.inode = message.idiag_inode;
    entry.receive_queue = message.idiag_rqueue;
    entry.send_queue = message.idiag_wqueue;
    copy_address(entry.local, entry.family, message.id.idiag_src);
    copy_address(entry.remote, entry.family, message.id.idiag_dst);
    entry.local_port = ntohs(message.id.idiag_sport);
    entry.remote_port = ntohs(message.id.idiag_dport);
    return table_add(table, &entry);
}

/* An abstract name starts with a zero byte; nothing in a name may steer a terminal. */
static char *copy_name(const char *data, size_t length)
{
    char *name = allocate(length + 1);

    while (length > 1 && data[length - 1] == 0)
        length--;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)data[i];

        name[i] = c == 0 ? '@' : c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    return name;
}

static void set_unix_attribute(struct socket_entry *entry, unsigned type, const void *data,
                               size_t length)
{
    switch (type) {
    case UNIX_DIAG_NAME:
        if (length > 0 && length <= 128 && !entry->name)
            entry->name = copy_name(data, length);
        break;
    case UNIX_DIAG_PEER:
        if (length >= sizeof entry->peer)
            memcpy(&entry->peer, data, sizeof entry->peer);
        break;
    case UNIX_DIAG_ICONS:
        if (length >= sizeof *entry->pending && !entry->pending) {
            entry->pending_count = length / sizeof *entry->pending;
            entry->pending = allocate(entry->pending_count * sizeof *entry->pending);
            memcpy(entry->pending, data, entry->pending_count * sizeof *entry->pending);
        }
        break;
    case UNIX_DIAG_RQLEN:
        if (length >= sizeof(struct unix_diag_rqlen)) {
            struct unix_diag_rqlen queues;

            memcpy(&queues, data, sizeof queues);
            entry->receive_queue = queues.udiag_rqueue;
            entry->send_queue = queues.udiag_wqueue;
        }
        break;
    default:
        break;
    }
}

static int add_unix_message(const void *data, size_t length, struct socket_table *table)
{
    struct unix_diag_msg message;
    struct socket_entry entry = {.family = AF_UNIX};
    const uint8_t *next = data;

    if (length < sizeof message)
        return -EBADMSG;
    memcpy(&message, data, sizeof message);
    entry.type = message.udiag_type;
    entry.state = message.udiag_state;
    entry.inode = message.udiag_ino;
    next += sizeof message;
    length -= sizeof message;
    while (length >= sizeof(struct rtattr)) {
        struct rtattr attribute;
        size_t whole;

        memcpy(&attribute, next, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > length)
            break;
        set_unix_attribute(&entry, attribute.rta_type, next + sizeof attribute,
                           attribute.rta_len - sizeof attribute);
        whole = RTA_ALIGN((size_t)attribute.rta_len);
        if (whole > length)
            break;
        next += whole;
        length -= whole;
    }
    return table_add(table, &entry);
}

/* `type` is SOCK_STREAM (TCP), SOCK_DGRAM (UDP) or 0 (unix: the message says it). */
static int handle_message(const struct nlmsghdr *header, const void *payload, size_t length,
                          int type, struct socket_table *table, bool *ret_done)
{
    int number = 0;

    switch (header->nlmsg_type) {
    case NLMSG_DONE:
    case NLMSG_ERROR:
        if (length >= sizeof number)
            memcpy(&number, payload, sizeof number);
        *ret_done = true;
        return number < 0 && number > -4096 ? number : 0;
    case SOCK_DIAG_BY_FAMILY:
        if (header->nlmsg_flags & NLM_F_DUMP_INTR)
            return -EAGAIN;
        return type ? add_inet_message(payload, length, type, table)
                    : add_unix_message(payload, length, table);
    default:
        return 0;
    }
}

int socket_parse_messages(const void *data, size_t length, int type, struct socket_table *table,
                          bool *ret_done)
{
    const uint8_t *next = data;

    *ret_done = false;
    while (length >= sizeof(struct nlmsghdr) && !*ret_done) {
        struct nlmsghdr header;
        size_t whole;
        int r;

        memcpy(&header, next, sizeof header);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > length)
            return -EBADMSG;
        r = handle_message(&header, next + sizeof header, header.nlmsg_len - sizeof header, type,
                           table, ret_done);
        if (r < 0)
            return r;
        whole = NLMSG_ALIGN((size_t)header.nlmsg_len);
        if (whole > length)
            break;
        next += whole;
        length -= whole;
    }
    return 0;
}

static int receive_dump(int netlink, int type, struct socket_table *table)
{
    CLEANUP(free_ptr) uint8_t *data = allocate(65536);
    bool done = false;

    while (!done) {
        ssize_t n = recv(netlink, data, 65536, MSG_TRUNC);
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0 || n > 65536)
            return -EBADMSG;
        r = socket_parse_messages(data, (size_t)n, type, table, &done);
        if (r < 0)
            return r;
    }
    return 0;
}

static int request_dump(int netlink, const void *request, size_t length)
{
    struct {
        struct nlmsghdr header;
        uint8_t body[128];
    } message = {.header = {.nlmsg_type = SOCK_DIAG_BY_FAMILY,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                            .nlmsg_len = (uint32_t)(sizeof(struct nlmsghdr) + length)}};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    memcpy(message.body, request, length);
    if (sendto(netlink, &message, message.header.nlmsg_len, 0, (struct sockaddr *)&kernel,
               sizeof kernel) < 0)
        return -errno;
    return 0;
}

static int dump_inet(int netlink, int family, int type, struct socket_table *table)
{
    struct inet_diag_req_v2 request = {
        .sdiag_family = (uint8_t)family,
        .sdiag_protocol = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP,
        .idiag_states = ~(1U << SOCKET_TIME_WAIT),
    };
    int r = request_dump(netlink, &request, sizeof request);

    return r < 0 ? r : receive_dump(netlink, type, table);
}

static int dump_unix(int netlink, struct socket_table *table)
{
    struct unix_diag_req request = {
        .sdiag_family = AF_UNIX,
        .udiag_states = ~0U,
        .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN,
    };
    int r = request_dump(netlink, &request, sizeof request);

    return r < 0 ? r : receive_dump(netlink, 0, table);
}

static int dump_all(int netlink, struct socket_table *table)
{
    int r = dump_unix(netlink, table);

    if (r == 0)
        r = dump_inet(netlink, AF_INET, SOCK_STREAM, table);
    if (r == 0)
        r = dump_inet(netlink, AF_INET6, SOCK_STREAM, table);
    if (r == 0)
        r = dump_inet(netlink, AF_INET, SOCK_DGRAM, table);
    if (r == 0)
        r = dump_inet(netlink, AF_INET6, SOCK_DGRAM, table);
    table->peers_known = r == 0;
    return r;
}

/* ---- entering the namespace ---- */

static int open_netlink(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

    return fd < 0 ? -errno : fd;
}

/* In the leaf: a socket stays in the namespace in which it was made, so it is all that is needed.
 */
static int send_netlink(int channel, void *context)
{
    int namespace = *(int *)context, netlink;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char byte = 0;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    if (setns(namespace, CLONE_NEWNET) < 0)
        return 1;
    netlink = open_netlink();
    if (netlink < 0)
        return 1;
    *header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof netlink)};
    memcpy(CMSG_DATA(header), &netlink, sizeof netlink);
    return sendmsg(channel, &message, MSG_NOSIGNAL) < 0;
}

static int receive_netlink(int channel)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    const struct cmsghdr *header;
    int netlink;

    if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) <= 0)
        return -EPERM;
    header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof netlink))
        return -EPERM;
    memcpy(&netlink, CMSG_DATA(header), sizeof netlink);
    return netlink;
}

static int open_netlink_of(int directory)
{
    CLEANUP(close_fd) int namespace = -1;
    CLEANUP(leaf_done) struct leaf leaf = LEAF_INIT;
    struct namespaces own, other;
    int r = namespaces_read(getpid(), &own, NULL);

    if (r == 0)
        r = namespaces_read_at(directory, &other, NULL);
    if (r == 0 && own.inode[NAMESPACE_NETWORK] == other.inode[NAMESPACE_NETWORK])
        return open_netlink();
    if (r == 0)
        r = namespace_open(directory, NAMESPACE_NETWORK, &namespace, NULL);
    if (r == 0)
        r = leaf_start(send_netlink, &namespace, true, &leaf, NULL);
    return r < 0 ? r : receive_netlink(leaf.socket);
}

/* ---- /proc/<pid>/net ---- */

/* "0100007F:1F90": each 32-bit word of the address in host byte order. */
static int parse_endpoint(const char *text, int family, uint8_t address[16], uint16_t *ret_port)
{
    size_t words = family == AF_INET6 ? 4 : 1;
    uint8_t raw[16];
    uint64_t port;

    if (!text || strlen(text) != 8 * words + 5 || text[8 * words] != ':')
        return -EINVAL;
    for (size_t i = 0; i < words; i++) {
        char word[9];
        uint64_t value;
        uint32_t host;

        memcpy(word, text + 8 * i, 8);
        word[8] = 0;
        if (parse_number(word, 16, &value) < 0)
            return -EINVAL;
        host = (uint32_t)value;
        memcpy(raw + 4 * i, &host, 4);
    }
    if (parse_number(text + 8 * words + 1, 16, &port) < 0 || port > 65535)
        return -EINVAL;
    copy_address(address, family, raw);
    *ret_port = (uint16_t)port;
    return 0;
}

static int parse_inet_line(char *line, struct socket_entry *entry)
{
    char *local, *remote, *state, *queues, *colon, *inode = NULL;
    uint64_t value, out, in;

    (void)parse_field(&line); /* "0:" */
    local = parse_field(&line);
    remote = parse_field(&line);
    state = parse_field(&line);
    queues = parse_field(&line);
    for (int i = 0; i < 5; i++)
        inode = parse_field(&line);
    colon = queues ? strchr(queues, ':') : NULL;
    if (!colon || !inode)
        return -EINVAL;
    *colon = 0;
    if (parse_endpoint(local, entry->family, entry->local, &entry->local_port) < 0 ||
        parse_endpoint(remote, entry->family, entry->remote, &entry->remote_port) < 0 ||
        parse_number(queues, 16, &out) < 0 || parse_number(colon + 1, 16, &in) < 0)
        return -EINVAL;
    entry->send_queue = (uint32_t)out;
    entry->receive_queue = (uint32_t)in;
    if (parse_number(state, 16, &value) < 0 || value > 255)
        return -EINVAL;
    entry->state = (int)value;
    if (parse_number(inode, 10, &value) < 0 || value > UINT32_MAX)
        return -EINVAL;
    entry->inode = (uint32_t)value;
    return 0;
}

int socket_parse_inet(char *text, int family, int type, struct socket_table *table)
{
    char *line = parse_line(&text); /* the heading */

    if (!line)
        return 0;
    while ((line = parse_line(&text))) {
        struct socket_entry entry = {.family = family, .type = type};
        int r = parse_inet_line(line, &entry);

        if (r == 0 && entry.state != SOCKET_TIME_WAIT)
            r = table_add(table, &entry);
        if (r < 0)
            return r;
    }
    return 0;
}

/* "ffff8880: 00000002 00000000 00010000 0001 01 17213 /run/x": num, references, protocol, flags,
 * type, state, inode, name */
static int parse_unix_line(char *line, struct socket_entry *entry)
{
    char *fields[7];
    uint64_t flags, type, state, inode;

    for (size_t i = 0; i < 7; i++) {
        fields[i] = parse_field(&line);
        if (!fields[i])
            return -EINVAL;
    }
    if (parse_number(fields[3], 16, &flags) < 0 || parse_number(fields[4], 16, &type) < 0 ||
        parse_number(fields[5], 16, &state) < 0 || parse_number(fields[6], 10, &inode) < 0 ||
        type > 255 || inode > UINT32_MAX)
        return -EINVAL;
    entry->type = (int)type;
    entry->inode = (uint32_t)inode;
    /* 0x10000: listening (__SO_ACCEPTCON); state 3: connected (SS_CONNECTED). */
    entry->state = flags & 0x10000 ? SOCKET_LISTENING
                   : state == 3    ? SOCKET_ESTABLISHED
                                   : SOCKET_CLOSED;
    line += strspn(line, " ");
    if (*line)
        entry->name = copy_name(line, strlen(line));
    return 0;
}

int socket_parse_unix(char *text, struct socket_table *table)
{
    char *line = parse_line(&text); /* the heading */

    if (!line)
        return 0;
    while ((line = parse_line(&text))) {
        struct socket_entry entry = {.family = AF_UNIX};
        int r = parse_unix_line(line, &entry);

        if (r == 0)
            r = table_add(table, &entry);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_net_file(int directory, const char *name, int family, int type,
                         struct socket_table *table)
{
    CLEANUP(free_ptr) char *text = NULL;
    int r = file_read(directory, name, PROC_TEXT_MAX, &text, NULL);

    if (r == -ENOENT) /* no IPv6 */
        return 0;
    if (r < 0)
        return r;
    return family == AF_UNIX ? socket_parse_unix(text, table)
                             : socket_parse_inet(text, family, type, table);
}

static int read_net_files(int directory, struct socket_table *table)
{
    int r = read_net_file(directory, "net/unix", AF_UNIX, 0, table);

    if (r == 0)
        r = read_net_file(directory, "net/tcp", AF_INET, SOCK_STREAM, table);
    if (r == 0)
        r = read_net_file(directory, "net/tcp6", AF_INET6, SOCK_STREAM, table);
    if (r == 0)
        r = read_net_file(directory, "net/udp", AF_INET, SOCK_DGRAM, table);
    if (r == 0)
        r = read_net_file(directory, "net/udp6", AF_INET6, SOCK_DGRAM, table);
    table->peers_known = false;
    return r;
}

static int read_by_netlink(int directory, struct socket_table *table)
{
    int r = -EAGAIN;

    for (int i = 0; i < DUMP_ATTEMPTS && r == -EAGAIN; i++) {
        CLEANUP(close_fd) int netlink = open_netlink_of(directory);

        socket_table_done(table);
        r = netlink < 0 ? netlink : dump_all(netlink, table);
    }
    return r;
}

int socket_table_read(pid_t pid, struct socket_table *ret, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    struct socket_table table = SOCKET_TABLE_INIT;
    int r = process_open(pid, &directory, error);

    if (r < 0)
        return r;
    r = read_by_netlink(directory, &table);
    if (r < 0) {
        socket_table_done(&table);
        r = read_net_files(directory, &table);
    }
    if (r < 0) {
        socket_table_done(&table);
        return process_error(error, r, pid, "the sockets of its network namespace");
    }
    socket_table_sort(&table);
    *ret = table;
    return 0;
}

/* ---- owners ---- */

static uint64_t target_inode(const char *target, const char *prefix)
{
    size_t length = strlen(prefix);

    if (strncmp(target, prefix, length) != 0 || target[length] != ':' || target[length + 1] != '[')
        return 0;
    return parse_leading_number(target + length + 2);
}

static void match_process(pid_t pid, const char *prefix, const uint64_t *inodes, size_t count,
                          pid_t *ret_pids)
{
    char path[32], target[64];
    CLEANUP(close_directory) DIR *stream = NULL;
    struct dirent *entry;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    stream = opendir(path);
    while (stream && (entry = readdir(stream))) {
        ssize_t n = readlinkat(dirfd(stream), entry->d_name, target, sizeof target - 1);
        uint64_t inode;

        if (n <= 0)
            continue;
        target[n] = 0;
        inode = target_inode(target, prefix);
        for (size_t i = 0; inode && i < count; i++) {
            if (inodes[i] == inode && ret_pids[i] == 0)
                ret_pids[i] = pid;
        }
    }
}

void descriptor_owners_find(const char *prefix, const uint64_t *inodes, size_t count,
                            const struct process_tree *except, pid_t *ret_pids)
{
    CLEANUP(free_ptr) pid_t *pids = NULL;
    size_t pid_count = 0;

    memset(ret_pids, 0, count * sizeof *ret_pids);
    if (count == 0 || process_list(&pids, &pid_count, NULL) < 0)
        return;
    for (size_t i = 0; i < pid_count; i++) {
        if (!except || !process_tree_find(except, pids[i]))
            match_process(pids[i], prefix, inodes, count, ret_pids);
    }
}
