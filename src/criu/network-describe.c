/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "criu/network-image.h"
#include "criu/network.h"

enum { ADDRESSES_MAXIMUM = 256 };

static const char *state_name(uint32_t state)
{
    switch (state) {
    case SAVED_ESTABLISHED:
        return "established";
    case SAVED_SYN_SENT:
        return "syn-sent";
    case SAVED_FIN_WAIT1:
        return "fin-wait-1";
    case SAVED_FIN_WAIT2:
        return "fin-wait-2";
    case SAVED_CLOSE_WAIT:
        return "close-wait";
    case SAVED_LAST_ACK:
        return "last-ack";
    case SAVED_CLOSING:
        return "closing";
    default:
        return "closed";
    }
}

/* Steals `text`, which is ASCII. */
static json_t *text_json(char *text)
{
    json_t *string = json_string(text);

    free(text);
    return string;
}

static json_t *endpoint_json(const struct network_endpoint *endpoint)
{
    return text_json(network_endpoint_text(endpoint));
}

static json_t *describe_listener(const struct saved_socket *socket)
{
    const Criu__InetSocket *inet = saved_inet(socket);

    return json_pack("{so si ss sb}", "address",
                     text_json(network_address_text(&socket->local.address)), "port",
                     (int)socket->local.port, "family", inet->family == AF_INET6 ? "ipv6" : "ipv4",
                     "v6_only", inet->has_v6_only && inet->v6_only);
}

static json_t *describe_connection(const struct saved_socket *socket)
{
    return json_pack("{so so ss}", "local", endpoint_json(&socket->local), "remote",
                     endpoint_json(&socket->remote), "state",
                     state_name(saved_inet(socket)->state));
}

static json_t *describe_foreign(int images, const struct saved_socket *socket)
{
    json_t *connection = describe_connection(socket);
    CLEANUP(free_ptr) char *image = NULL;
    Criu__TcpStream *stream = NULL;
    const char *received = NULL;

    if (saved_stream_read(images, saved_inet(socket)->inode, &stream, &image, &received, NULL) < 0)
        return connection;
    (void)json_object_set_new(connection, "unread", json_integer(stream->receive_length));
    (void)json_object_set_new(connection, "unsent", json_integer(stream->send_length));
    criu__tcp_stream__free_unpacked(stream, NULL);
    return connection;
}

static json_t *describe_datagram(const struct saved_socket *socket)
{
    return json_pack("{so so}", "local", endpoint_json(&socket->local), "remote",
                     socket->remote.port ? endpoint_json(&socket->remote) : json_null());
}

/* An abstract name begins with '@'; whatever else can't be shown as it is becomes \xNN. */
static json_t *name_json(const ProtobufCBinaryData *name)
{
    struct buffer text = BUFFER_INIT(4096);
    size_t length = name->len;
    json_t *string;

    while (length > 1 && name->data[length - 1] == 0)
        length--;
    for (size_t i = 0; i < length; i++) {
        uint8_t c = name->data[i];

        if (i == 0 && c == 0)
            (void)buffer_append(&text, "@", 1);
        else if (c > 0x20 && c < 0x7f && c != '\\')
            (void)buffer_append(&text, &c, 1);
        else
            (void)buffer_printf(&text, "\\x%02x", c);
    }
    string = json_string(text.data);
    buffer_done(&text);
    return string;
}

static json_t *describe_unix(const Criu__UnixSocket *socket)
{
    const char *kind = unix_name_is_kernel_given(&socket->name) ? "kernel"
                       : socket->name.data[0] == 0              ? "abstract"
                                                                : "path";
    const char *type = socket->type == SOCK_STREAM  ? "stream"
                       : socket->type == SOCK_DGRAM ? "datagram"
                                                    : "packets";

    return json_pack("{so ss ss sb}", "name", name_json(&socket->name), "kind", kind, "type", type,
                     "listening", socket->state == SAVED_LISTENING);
}

static void add_to(json_t *root, const char *list, json_t *value)
{
    (void)json_array_append_new(json_object_get(root, list), value);
}

static bool has_text(const json_t *array, const char *text)
{
    const json_t *value;
    size_t i;

    json_array_foreach(array, i, value)
    {
        if (text_equal(json_string_value(value), text))
            return true;
    }
    return false;
}

static void add_address(json_t *root, const struct network_address *address)
{
    CLEANUP(free_ptr) char *text = NULL;
    json_t *array = json_object_get(root, "addresses");

    if (network_address_is_wildcard(address) || network_address_is_loopback(address) ||
        network_address_is_group(address) || json_array_size(array) >= ADDRESSES_MAXIMUM)
        return;
    text = network_address_text(address);
    if (!has_text(array, text))
        (void)json_array_append_new(array, json_string(text));
}

static void describe_inet(json_t *root, int images, const struct saved_socket *socket)
{
    add_address(root, &socket->local.address);
    switch (socket->role) {
    case ROLE_LISTENER:
        add_to(root, "listeners", describe_listener(socket));
        break;
    case ROLE_INSIDE:
        add_to(root, "inside", describe_connection(socket));
        break;
    case ROLE_FOREIGN:
        add_to(root, "foreign", describe_foreign(images, socket));
        break;
    case ROLE_DATAGRAM:
        add_to(root, "udp", describe_datagram(socket));
        break;
    default:
        add_to(root, "other", json_pack("{so}", "local", endpoint_json(&socket->local)));
        break;
    }
}

int network_describe(int images, json_t **ret, struct error *error)
{
    struct saved_sockets saved = SAVED_SOCKETS_INIT;
    json_t *root;
    int r = saved_sockets_read(images, &saved, error);

    if (r < 0)
        return r;
    root = json_pack("{s[] s[] s[] s[] s[] s[] s[]}", "addresses", "listeners", "inside", "foreign",
                     "udp", "other", "unix");
    for (size_t i = 0; i < saved.count; i++) {
        const struct saved_socket *socket = &saved.sockets[i];

        if (socket->role != ROLE_UNIX)
            describe_inet(root, images, socket);
        else if (socket->entry->unix_socket->name.len)
            add_to(root, "unix", describe_unix(socket->entry->unix_socket));
    }
    saved_sockets_done(&saved);
    *ret = root;
    return 0;
}
