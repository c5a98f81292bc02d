/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection whose peer stays behind must end as connections to lost peers end, on its old
 * descriptor. It is restored as it was, but between two ports of the loopback device, of which one
 * belongs to nobody: the first packet that the restored socket sends is answered with a reset by
 * the kernel. For an established one that is the window probe with which it leaves repair mode
 * (tcp(7) does not tell; net/ipv4/tcp_output.c, tcp_send_window_probe), so that the error is there
 * before the program runs. What was received and not read stays readable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "criu/network-steps.h"

enum { SHUT_DOWN_BOTH = 3, WINDOW_LEAST = 65535, NOBODYS_PORT = 1 };

struct closing {
    const struct network_plan *plan;
    int images, output;
    uint16_t dead4, dead6; /* ports on the loopback addresses that nobody listens on; 0: not yet */
    uint16_t counter;
};

/* A port of `address` that is held for us; 0 when there is none to have. */
static uint16_t reserve_any(const struct network_plan *plan, const struct network_address *address)
{
    struct port_request request = {.type = SOCK_STREAM, .address = *address, .v6_only = true};
    uint16_t port = 0;

    if (!plan->reserve || plan->reserve(&request, &port, plan->context) < 0)
        return 0;
    return port;
}

static uint16_t dead_port(struct closing *closing, const struct network_address *address)
{
    uint16_t *port = network_address_is_ipv4(address) ? &closing->dead4 : &closing->dead6;

    if (*port == 0)
        *port = reserve_any(closing->plan, address);
    if (*port == 0)
        *port = NOBODYS_PORT;
    return *port;
}

/* The kernel chooses the local port when CRIU binds it, and gives it back with the reset. */
static void place_anywhere(struct closing *closing, struct saved_socket *socket)
{
    struct network_address loopback = network_address_loopback(&socket->local.address);

    socket->local = (struct network_endpoint){.address = loopback};
    socket->remote =
        (struct network_endpoint){.address = loopback, .port = dead_port(closing, &loopback)};
}

/* For those to which CRIU sends a packet in the name of the peer: it has to know the port. */
static void place_exactly(struct closing *closing, struct saved_socket *socket)
{
    uint16_t old = socket->local.port, port;

    place_anywhere(closing, socket);
    port = reserve_any(closing->plan, &socket->local.address);
    socket->local.port = port ? port : old;
    if (port)
        return;
    do {
        closing->counter = closing->counter == UINT16_MAX ? 1 : closing->counter + 1;
    } while (closing->counter == old);
    socket->remote.port = closing->counter;
}

/* Without a stream there is no connection to restore: a socket that was shut down is left, on
 * which reading gives the end of the file and writing EPIPE. */
static void make_closed(struct saved_socket *socket)
{
    Criu__InetSocket *inet = saved_inet(socket);

    inet->state = SAVED_CLOSED;
    inet->has_shutdown = 1;
    inet->shutdown = SHUT_DOWN_BOTH;
    socket->local = (struct network_endpoint){.address = socket->local.address};
    socket->remote = (struct network_endpoint){.address = socket->remote.address};
    memset(socket->local.address.bytes + 12, 0, 4);
    memset(socket->remote.address.bytes + 12, 0, 4);
    if (!network_address_is_ipv4(&socket->local.address))
        socket->local.address = socket->remote.address = (struct network_address){0};
}

/* What the peer had closed is read to its end; all else is reset. */
static void choose_state(struct closing *closing, struct saved_socket *socket)
{
    Criu__InetSocket *inet = saved_inet(socket);

    switch (inet->state) {
    case SAVED_FIN_WAIT1:
    case SAVED_FIN_WAIT2: /* only an established one is reset at once; then both ways are closed */
        inet->state = SAVED_ESTABLISHED;
        inet->has_shutdown = 0;
        place_anywhere(closing, socket);
        break;
    case SAVED_CLOSING: /* the peer's end first, as that is what the program reads */
        inet->state = SAVED_LAST_ACK;
        place_exactly(closing, socket);
        break;
    case SAVED_CLOSE_WAIT:
    case SAVED_LAST_ACK:
        place_exactly(closing, socket);
        break;
    default:
        place_anywhere(closing, socket);
        break;
    }
}

/* What was to be sent reaches nobody; and CRIU must not send it while it restores. */
static void empty_stream(Criu__TcpStream *stream, uint32_t state)
{
    stream->send_length = 0;
    stream->has_unsent_length = 1;
    stream->unsent_length = 0;
    if (state == SAVED_SYN_SENT)
        stream->receive_length = 0;
    if (!stream->has_send_window || !stream->has_maximum_window)
        return;
    /* For a peer that had no room the end of a last-ack one would wait, and with it the reset. */
    if (stream->send_window < WINDOW_LEAST)
        stream->send_window = WINDOW_LEAST;
    if (stream->maximum_window < stream->send_window)
        stream->maximum_window = stream->send_window;
}

static int close_stream(struct closing *closing, struct saved_socket *socket, struct error *error)
{
    Criu__InetSocket *inet = saved_inet(socket);
    CLEANUP(free_ptr) char *image = NULL;
    Criu__TcpStream *stream = NULL;
    const char *received = NULL;
    int r = saved_stream_read(closing->images, inet->inode, &stream, &image, &received, error);

    if (r == -ENOENT) {
        make_closed(socket);
        return 0;
    }
    if (r < 0)
        return r;
    choose_state(closing, socket);
    empty_stream(stream, inet->state);
    r = saved_stream_write(closing->output, inet->inode, stream, received, error);
    criu__tcp_stream__free_unpacked(stream, NULL);
    return r;
}

static int close_socket(struct closing *closing, struct saved_socket *socket, struct error *error)
{
    Criu__InetSocket *inet = saved_inet(socket);
    int r = 0;

    /* On another device nobody would answer. */
    free(inet->options->device);
    inet->options->device = NULL;
    free(inet->device);
    inet->device = NULL;
    if (inet->state == SAVED_CLOSED)
        make_closed(socket);
    else
        r = close_stream(closing, socket, error);
    saved_socket_store(socket);
    socket->changed = true;
    return r;
}

static int refuse(const struct saved_socket *socket, struct error *error)
{
    CLEANUP(free_ptr) char *local = network_endpoint_text(&socket->local);
    CLEANUP(free_ptr) char *remote = network_endpoint_text(&socket->remote);

    return error_set(error, "tcp-outside", EBUSY, "%s to %s", local, remote);
}

int network_close_foreign(struct saved_sockets *saved, int images, int output,
                          const struct network_plan *plan, struct network_summary *summary,
                          struct error *error)
{
    struct closing closing = {.plan = plan, .images = images, .output = output};
    int r = 0;

    for (size_t i = 0; i < saved->count && r == 0; i++) {
        struct saved_socket *socket = &saved->sockets[i];

        if (socket->role == ROLE_INSIDE)
            summary->inside++;
        if (socket->role != ROLE_FOREIGN || plan->foreign == FOREIGN_KEEP)
            continue;
        r = plan->foreign == FOREIGN_REFUSE ? refuse(socket, error)
                                            : close_socket(&closing, socket, error);
        summary->closed++;
    }
    return r;
}
