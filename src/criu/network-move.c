/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "criu/network-steps.h"

static bool is_connection(const struct saved_socket *socket)
{
    return socket->role == ROLE_INSIDE || socket->role == ROLE_FOREIGN;
}

static bool interface_matches(const struct network_move *move, const char *interface)
{
    return !move->from_interface || (interface && text_equal(move->from_interface, interface));
}

static const char *interface_of(const Criu__InetSocket *inet)
{
    return inet->device ? inet->device : inet->options->device;
}

static const struct network_move *find_move(const struct network_plan *plan,
                                            const struct network_address *address,
                                            const char *interface)
{
    for (size_t i = 0; i < plan->move_count; i++) {
        const struct network_move *move = &plan->moves[i];

        if (network_address_equal(&move->from, address) &&
            (!network_address_is_link_local(address) || interface_matches(move, interface)))
            return move;
    }
    return NULL;
}

/* What the kernel lets every socket bind to, wherever it is. */
static bool exists_everywhere(const struct saved_socket *socket)
{
    const Criu__InetSocket *inet = saved_inet(socket);
    const struct network_address *address = &socket->local.address;

    return network_address_is_wildcard(address) || network_address_is_loopback(address) ||
           network_address_is_group(address) ||
           (inet->ip_options && inet->ip_options->has_freebind && inet->ip_options->freebind);
}

/* Ping sockets, and those without a port, are not bound by CRIU. */
static bool is_bound(const struct saved_socket *socket)
{
    const Criu__InetSocket *inet = saved_inet(socket);

    return socket->local.port && inet->protocol != IPPROTO_ICMP && inet->protocol != IPPROTO_ICMPV6;
}

static void replace_text(char **text, const char *by)
{
    free(*text);
    *text = text_copy(by);
}

/* Sockets on an interface follow it to its new name. */
static void move_interface(struct saved_socket *socket, const struct network_plan *plan)
{
    Criu__InetSocket *inet = saved_inet(socket);

    for (size_t i = 0; i < plan->move_count; i++) {
        const struct network_move *move = &plan->moves[i];

        if (!move->from_interface || !move->to_interface ||
            text_equal(move->from_interface, move->to_interface))
            continue;
        if (inet->options->device && text_equal(inet->options->device, move->from_interface)) {
            replace_text(&inet->options->device, move->to_interface);
            socket->changed = true;
            break;
        }
    }
}

/* CRIU binds to a link-local address on this interface, and wants it to exist for all others. */
static void move_scope(struct saved_socket *socket, const struct network_move *move)
{
    Criu__InetSocket *inet = saved_inet(socket);

    if (!inet->device)
        return;
    if (!network_address_is_link_local(&move->to)) {
        free(inet->device);
        inet->device = NULL;
        socket->changed = true;
    } else if (move->to_interface && !text_equal(inet->device, move->to_interface)) {
        replace_text(&inet->device, move->to_interface);
        socket->changed = true;
    }
}

/* 1: the local address has no place here. */
static int move_local(struct saved_socket *socket, const struct network_plan *plan)
{
    const struct network_move *move =
        find_move(plan, &socket->local.address, interface_of(saved_inet(socket)));

    if (!move)
        return is_bound(socket) && !exists_everywhere(socket);
    move_scope(socket, move);
    socket->local.address = move->to;
    return 0;
}

static void move_remote(struct saved_socket *socket, const struct network_plan *plan)
{
    const struct network_move *move =
        find_move(plan, &socket->remote.address, interface_of(saved_inet(socket)));

    if (move)
        socket->remote.address = move->to;
}

static void add_missing(struct buffer *missing, const struct network_address *address)
{
    CLEANUP(free_ptr) char *text = network_address_text(address);

    /* Each once, and not without an end. */
    if (missing->length > 500 || (missing->data && strstr(missing->data, text)))
        return;
    (void)buffer_printf(missing, "%s%s", missing->length ? ", " : "", text);
}

/* CRIU has no way to say on which interface a connection is. */
static int check_link_local(const struct saved_socket *socket, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;

    if (!is_connection(socket) || (!network_address_is_link_local(&socket->local.address) &&
                                   !network_address_is_link_local(&socket->remote.address)))
        return 0;
    text = network_endpoint_text(&socket->local);
    return error_set(error, "address-link-local", ENOTSUP, "Connection of %s", text);
}

static bool stays_behind(const struct saved_socket *socket, const struct network_plan *plan)
{
    return socket->role == ROLE_UNIX ||
           (socket->role == ROLE_FOREIGN && plan->foreign == FOREIGN_CLOSE);
}

/* The remote end moves only where it is inside: a foreign peer may have an address that is the
 * same only by chance. */
static int move_socket(struct saved_socket *socket, const struct network_plan *plan,
                       struct buffer *missing, struct network_summary *summary, struct error *error)
{
    struct network_address before = socket->local.address;

    if (move_local(socket, plan)) {
        add_missing(missing, &before);
        return 0;
    }
    if (socket->role == ROLE_INSIDE || socket->role == ROLE_DATAGRAM)
        move_remote(socket, plan);
    move_interface(socket, plan);
    saved_socket_store(socket);
    summary->moved += !network_address_equal(&before, &socket->local.address);
    return check_link_local(socket, error);
}

int network_move_addresses(struct saved_sockets *saved, const struct network_plan *plan,
                           struct network_summary *summary, struct error *error)
{
    struct buffer missing = BUFFER_INIT(4096);
    int r = 0;

    for (size_t i = 0; i < saved->count && r == 0; i++) {
        if (!stays_behind(&saved->sockets[i], plan))
            r = move_socket(&saved->sockets[i], plan, &missing, summary, error);
    }
    if (r == 0 && missing.length)
        r = error_set(error, "address-missing", EADDRNOTAVAIL,
                      "Nothing takes the place of %s, to which sockets are bound", missing.data);
    buffer_done(&missing);
    return r;
}
