/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/network-image.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

enum {
    IMAGE_MAXIMUM = 256 << 20,
    MESSAGE_MAXIMUM = 1 << 20,
    SOCKETS_MAXIMUM = 1 << 20,
    MAGIC_BYTES = 8,
    FILE_TYPE_INET = 4,
    FILE_TYPE_UNIX = 5,
};

static const uint32_t image_magic = 0x54564319;
static const uint32_t files_magic = 0x56303138;
static const uint32_t stream_magic = 0x51465506;

static int broken(struct error *error, const char *what)
{
    return error_set(error, "socket-image", EBADMSG, "%s", what);
}

static bool magic_matches(const char *image, size_t length, uint32_t kind)
{
    return length >= MAGIC_BYTES && memcmp(image, &image_magic, sizeof image_magic) == 0 &&
           memcmp(image + sizeof image_magic, &kind, sizeof kind) == 0;
}

/* Where the message that begins at `begin` (with its length) ends; 0 when that makes no sense. */
static size_t message_end(size_t length, const char *image, size_t begin)
{
    uint32_t size;

    if (length - begin < sizeof size)
        return 0;
    memcpy(&size, image + begin, sizeof size);
    if (size > MESSAGE_MAXIMUM || size > length - begin - sizeof size)
        return 0;
    return begin + sizeof size + size;
}

static bool address_read(uint32_t family, size_t count, const uint32_t *words,
                         struct network_address *ret)
{
    if (family == AF_INET && count >= 1) {
        *ret = (struct network_address){.bytes = {[10] = 0xff, [11] = 0xff}};
        memcpy(ret->bytes + 12, words, 4);
        return true;
    }
    if (family != AF_INET6 || count != 4)
        return false;
    memcpy(ret->bytes, words, sizeof ret->bytes);
    return true;
}

static bool inet_read(const Criu__InetSocket *inet, struct saved_socket *socket)
{
    if (inet->local_port > UINT16_MAX || inet->remote_port > UINT16_MAX || !inet->options ||
        !address_read(inet->family, inet->n_local, inet->local, &socket->local.address) ||
        !address_read(inet->family, inet->n_remote, inet->remote, &socket->remote.address))
        return false;
    socket->local.port = (uint16_t)inet->local_port;
    socket->remote.port = (uint16_t)inet->remote_port;
    return true;
}

static bool state_is_of_connection(uint32_t state)
{
    switch (state) {
    case SAVED_ESTABLISHED:
    case SAVED_SYN_SENT:
    case SAVED_FIN_WAIT1:
    case SAVED_FIN_WAIT2:
    case SAVED_CLOSED:
    case SAVED_CLOSE_WAIT:
    case SAVED_LAST_ACK:
    case SAVED_CLOSING:
        return true;
    default:
        return false;
    }
}

/* As CRIU judges: a TCP socket with a remote port is a connection. */
static bool inet_role(const Criu__InetSocket *inet, enum socket_role *ret)
{
    if (inet->protocol == IPPROTO_TCP && inet->remote_port) {
        *ret = ROLE_FOREIGN;
        return inet->type == SOCK_STREAM && state_is_of_connection(inet->state);
    }
    if (inet->state == SAVED_LISTENING) {
        *ret = ROLE_LISTENER;
        return inet->type == SOCK_STREAM && inet->protocol == IPPROTO_TCP;
    }
    *ret = inet->type == SOCK_DGRAM && inet->protocol != IPPROTO_ICMP &&
                   inet->protocol != IPPROTO_ICMPV6
               ? ROLE_DATAGRAM
               : ROLE_OTHER;
    return inet->type == SOCK_STREAM || inet->type == SOCK_DGRAM || inet->type == SOCK_RAW;
}

/* 1: a socket, 0: something else, or -EBADMSG. */
static int classify(struct saved_socket *socket)
{
    const Criu__FileEntry *entry = socket->entry;

    if (entry->type == FILE_TYPE_UNIX) {
        socket->role = ROLE_UNIX;
        if (!entry->unix_socket ||
            entry->unix_socket->name.len > sizeof((struct sockaddr_un *)0)->sun_path)
            return -EBADMSG;
        return 1;
    }
    if (entry->type != FILE_TYPE_INET)
        return 0;
    if (!entry->inet_socket || !inet_role(entry->inet_socket, &socket->role) ||
        !inet_read(entry->inet_socket, socket))
        return -EBADMSG;
    return 1;
}

static int add_socket(struct saved_sockets *saved, const struct saved_socket *socket)
{
    if ((saved->count & (saved->count - 1)) == 0) {
        size_t capacity = saved->count ? 2 * saved->count : 1;
        struct saved_socket *grown =
            capacity > SOCKETS_MAXIMUM ? NULL
                                       : realloc(saved->sockets, capacity * sizeof *saved->sockets);

        if (!grown)
            return -ENOMEM;
        saved->sockets = grown;
    }
    saved->sockets[saved->count++] = *socket;
    return 0;
}

static int read_message(struct saved_sockets *saved, size_t begin, size_t end)
{
    struct saved_socket socket = {.begin = begin, .end = end};
    int r;

    socket.entry =
        criu__file_entry__unpack(NULL, end - begin - sizeof(uint32_t),
                                 (const uint8_t *)saved->image + begin + sizeof(uint32_t));
    if (!socket.entry)
        return -EBADMSG;
    r = classify(&socket);
    if (r > 0) {
        r = add_socket(saved, &socket);
        if (r == 0)
            return 0;
    }
    criu__file_entry__free_unpacked(socket.entry, NULL);
    return r;
}

static int read_messages(struct saved_sockets *saved, struct error *error)
{
    size_t begin = MAGIC_BYTES;

    while (begin < saved->length) {
        size_t end = message_end(saved->length, saved->image, begin);
        int r = end ? read_message(saved, begin, end) : -EBADMSG;

        if (r == -ENOMEM)
            return error_set(error, "out-of-memory", ENOMEM, "Can't read files.img");
        if (r < 0)
            return error_set(error, "socket-image", EBADMSG, "files.img, at byte %zu", begin);
        begin = end;
    }
    return 0;
}

static uint32_t network_of(const struct saved_socket *socket)
{
    return socket->entry->inet_socket->has_network ? socket->entry->inet_socket->network : 0;
}

static int compare_endpoints(const struct network_endpoint *a, const struct network_endpoint *b)
{
    int order = memcmp(a->address.bytes, b->address.bytes, sizeof a->address.bytes);

    return order ? order : (a->port > b->port) - (a->port < b->port);
}

static int compare_connections(const void *a, const void *b)
{
    const struct saved_socket *left = *(struct saved_socket *const *)a;
    const struct saved_socket *right = *(struct saved_socket *const *)b;
    uint32_t left_network = network_of(left), right_network = network_of(right);
    int order = (left_network > right_network) - (left_network < right_network);

    if (order == 0)
        order = compare_endpoints(&left->local, &right->local);
    return order ? order : compare_endpoints(&left->remote, &right->remote);
}

/* Finds the ends that look at each other. `list`: the connections, sorted. */
static int match_connections(struct saved_socket **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct saved_socket key = {
            .entry = list[i]->entry, .local = list[i]->remote, .remote = list[i]->local};
        struct saved_socket *wanted = &key;

        /* Where the kernel is to choose the local port (network-foreign.c) they look the same. */
        if (i > 0 && list[i]->local.port && compare_connections(&list[i - 1], &list[i]) == 0)
            return -EBADMSG;
        if (bsearch(&wanted, list, count, sizeof(struct saved_socket *), compare_connections))
            list[i]->role = ROLE_INSIDE;
    }
    return 0;
}

static int find_pairs(struct saved_sockets *saved, struct error *error)
{
    CLEANUP(free_ptr)
    struct saved_socket **list = calloc(saved->count + 1, sizeof(struct saved_socket *));
    size_t count = 0;

    if (!list)
        return error_set(error, "out-of-memory", ENOMEM, "Can't read files.img");
    for (size_t i = 0; i < saved->count; i++) {
        if (saved->sockets[i].role == ROLE_FOREIGN)
            list[count++] = &saved->sockets[i];
    }
    qsort(list, count, sizeof(struct saved_socket *), compare_connections);
    if (match_connections(list, count) < 0)
        return broken(error, "files.img has the same connection twice");
    return 0;
}

int saved_sockets_read(int directory, struct saved_sockets *ret, struct error *error)
{
    struct saved_sockets saved = SAVED_SOCKETS_INIT;
    int r = file_read(directory, "files.img", IMAGE_MAXIMUM, &saved.image, &saved.length);

    if (r < 0)
        return error_set(error, "socket-image", r, "Can't read files.img");
    if (!magic_matches(saved.image, saved.length, files_magic))
        r = broken(error, "files.img is of another kind");
    if (r == 0)
        r = read_messages(&saved, error);
    if (r == 0)
        r = find_pairs(&saved, error);
    if (r < 0) {
        saved_sockets_done(&saved);
        return r;
    }
    *ret = saved;
    return 0;
}

void saved_sockets_done(struct saved_sockets *saved)
{
    for (size_t i = 0; i < saved->count; i++)
        criu__file_entry__free_unpacked(saved->sockets[i].entry, NULL);
    free(saved->sockets);
    free(saved->image);
    *saved = SAVED_SOCKETS_INIT;
}

static bool address_store(const struct network_address *address, size_t count, uint32_t *words)
{
    uint32_t before[4];
    size_t size = count == 4 ? 16 : 4;

    memcpy(before, words, size);
    if (count == 4)
        memcpy(words, address->bytes, size);
    else
        memcpy(words, address->bytes + 12, size);
    return memcmp(before, words, size) != 0;
}

void saved_socket_store(struct saved_socket *socket)
{
    Criu__InetSocket *inet = socket->entry->inet_socket;
    size_t words = inet->family == AF_INET6 ? 4 : 1;
    bool local = address_store(&socket->local.address, words, inet->local);
    bool remote = address_store(&socket->remote.address, words, inet->remote);

    if (local || remote || inet->local_port != socket->local.port ||
        inet->remote_port != socket->remote.port)
        socket->changed = true;
    inet->local_port = socket->local.port;
    inet->remote_port = socket->remote.port;
}

static int append_message(struct buffer *out, const ProtobufCMessage *message)
{
    uint32_t length = (uint32_t)protobuf_c_message_get_packed_size(message);
    CLEANUP(free_ptr) uint8_t *data = allocate(length);
    int r = buffer_append(out, &length, sizeof length);

    (void)protobuf_c_message_pack(message, data);
    return r < 0 ? r : buffer_append(out, data, length);
}

static int pack_all(const struct saved_sockets *saved, struct buffer *out)
{
    size_t copied = 0;
    int r = 0;

    for (size_t i = 0; i < saved->count && r == 0; i++) {
        const struct saved_socket *socket = &saved->sockets[i];

        if (!socket->changed)
            continue;
        r = buffer_append(out, saved->image + copied, socket->begin - copied);
        if (r == 0)
            r = append_message(out, &socket->entry->base);
        copied = socket->end;
    }
    return r < 0 ? r : buffer_append(out, saved->image + copied, saved->length - copied);
}

int saved_sockets_pack(const struct saved_sockets *saved, char **ret_image, size_t *ret_length,
                       struct error *error)
{
    struct buffer out = BUFFER_INIT(IMAGE_MAXIMUM);
    int r = pack_all(saved, &out);

    if (r < 0) {
        buffer_done(&out);
        return error_set(error, "out-of-memory", r, "Can't make the new files.img");
    }
    *ret_image = out.data;
    *ret_length = out.length;
    return 0;
}

static char *stream_name(uint32_t inode)
{
    return text_format("tcp-stream-%x.img", (unsigned)inode);
}

/* Checks that both queues are there. */
static bool queues_fit(const Criu__TcpStream *header, size_t rest)
{
    return (uint64_t)header->receive_length + header->send_length <= rest &&
           (!header->has_unsent_length || header->unsent_length <= header->send_length);
}

static Criu__TcpStream *stream_parse(const char *image, size_t length, const char **ret_received)
{
    Criu__TcpStream *header;
    size_t end;

    if (!magic_matches(image, length, stream_magic))
        return NULL;
    end = message_end(length, image, MAGIC_BYTES);
    if (!end)
        return NULL;
    header = criu__tcp_stream__unpack(NULL, end - MAGIC_BYTES - sizeof(uint32_t),
                                      (const uint8_t *)image + MAGIC_BYTES + sizeof(uint32_t));
    if (header && !queues_fit(header, length - end)) {
        criu__tcp_stream__free_unpacked(header, NULL);
        return NULL;
    }
    *ret_received = image + end;
    return header;
}

int saved_stream_read(int directory, uint32_t inode, Criu__TcpStream **ret_header, char **ret_image,
                      const char **ret_received, struct error *error)
{
    CLEANUP(free_ptr) char *name = stream_name(inode);
    CLEANUP(free_ptr) char *image = NULL;
    size_t length = 0;
    int r = file_read(directory, name, IMAGE_MAXIMUM, &image, &length);

    if (r == -ENOENT)
        return r;
    if (r < 0)
        return error_set(error, "socket-image", r, "Can't read %s", name);
    *ret_header = stream_parse(image, length, ret_received);
    if (!*ret_header)
        return error_set(error, "socket-image", EBADMSG, "%s", name);
    *ret_image = STEAL_PTR(image);
    return 0;
}

int saved_stream_write(int directory, uint32_t inode, const Criu__TcpStream *header,
                       const void *received, struct error *error)
{
    CLEANUP(free_ptr) char *name = stream_name(inode);
    struct buffer out = BUFFER_INIT(IMAGE_MAXIMUM);
    int r = buffer_append(&out, &image_magic, sizeof image_magic);

    if (r == 0)
        r = buffer_append(&out, &stream_magic, sizeof stream_magic);
    if (r == 0)
        r = append_message(&out, &header->base);
    if (r == 0)
        r = buffer_append(&out, received, header->receive_length);
    r = r < 0 ? error_set(error, "out-of-memory", r, "Can't make the new %s", name)
              : saved_file_write(directory, name, out.data, out.length, error);
    buffer_done(&out);
    return r;
}

int saved_file_write(int directory, const char *name, const void *data, size_t length,
                     struct error *error)
{
    CLEANUP(close_fd)
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : file_write_all(fd, data, length);

    return r < 0
               ? error_set(error, r == -ENOSPC ? "disk-full" : "system", r, "Can't write %s", name)
               : 0;
}

bool unix_name_is_kernel_given(const ProtobufCBinaryData *name)
{
    static const char cuda[] = "\0cuda-uvmfd-";

    if (name->len >= sizeof cuda - 1 && memcmp(name->data, cuda, sizeof cuda - 1) == 0)
        return true;
    if (name->len != 6 || name->data[0] != 0)
        return false;
    for (size_t i = 1; i < name->len; i++) {
        if (!strchr("0123456789abcdef", name->data[i]) || name->data[i] == 0)
            return false;
    }
    return true;
}
