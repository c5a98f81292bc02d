/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "criu/network-steps.h"

/* A local endpoint of one or more sockets, and the port that it gets. */
struct local_port {
    int type;
    struct network_endpoint endpoint;
    bool fixed;   /* someone outside knows it */
    bool untried; /* what it means to be free is not known here */
    bool v6_only, reuse_address, reuse_port;
    uint16_t port;
};

struct port_table {
    struct local_port *ports; /* sorted, each endpoint once */
    size_t count;
};

static int compare_ports(const void *a, const void *b)
{
    const struct local_port *left = a, *right = b;
    int order = (left->type > right->type) - (left->type < right->type);

    if (order == 0)
        order = memcmp(left->endpoint.address.bytes, right->endpoint.address.bytes,
                       sizeof left->endpoint.address.bytes);
    if (order == 0)
        order = (left->endpoint.port > right->endpoint.port) -
                (left->endpoint.port < right->endpoint.port);
    return order;
}

static struct local_port *find_port(const struct port_table *table, int type,
                                    const struct network_address *address, uint16_t port)
{
    struct local_port key = {.type = type, .endpoint = {.address = *address, .port = port}};

    return table->count ? bsearch(&key, table->ports, table->count, sizeof key, compare_ports)
                        : NULL;
}

/* Whether a port that is bound by others, too, would be no obstacle. */
static bool shares_port(const struct saved_socket *socket)
{
    return network_address_is_link_local(&socket->local.address) ||
           network_address_is_group(&socket->local.address);
}

/* False for sockets whose port nobody has to think of. */
static bool describe_port(const struct saved_socket *socket, struct local_port *ret)
{
    const Criu__InetSocket *inet = saved_inet(socket);

    if (!inet || !socket->local.port)
        return false;
    *ret = (struct local_port){.type = (int)inet->type,
                               .endpoint = socket->local,
                               .port = socket->local.port,
                               .v6_only = inet->has_v6_only && inet->v6_only,
                               .reuse_address = inet->options->reuse_address,
                               .reuse_port = inet->options->reuse_port};
    switch (socket->role) {
    case ROLE_LISTENER:
        ret->fixed = true;
        break;
    case ROLE_DATAGRAM:
        ret->fixed = socket->remote.port == 0;
        break;
    case ROLE_OTHER:
        ret->fixed = true;
        return inet->type == SOCK_STREAM;
    case ROLE_INSIDE:
        break;
    default:
        return false;
    }
    return true;
}

/* One row for each endpoint; it is fixed when it is for one of its sockets. */
static void merge_equal(struct port_table *table)
{
    size_t kept = 0;

    for (size_t i = 0; i < table->count; i++) {
        struct local_port *last = kept ? &table->ports[kept - 1] : NULL;

        if (last && compare_ports(last, &table->ports[i]) == 0) {
            last->fixed |= table->ports[i].fixed;
            last->v6_only &= table->ports[i].v6_only;
            last->reuse_address &= table->ports[i].reuse_address;
            last->reuse_port &= table->ports[i].reuse_port;
        } else {
            table->ports[kept++] = table->ports[i];
        }
    }
    table->count = kept;
}

static int collect_ports(const struct saved_sockets *saved, struct port_table *table)
{
    table->ports = calloc(saved->count + 1, sizeof *table->ports);
    if (!table->ports)
        return -ENOMEM;
    for (size_t i = 0; i < saved->count; i++) {
        if (describe_port(&saved->sockets[i], &table->ports[table->count]))
            table->count++;
    }
    qsort(table->ports, table->count, sizeof *table->ports, compare_ports);
    merge_equal(table);
    return 0;
}

static bool is_fixed(const struct port_table *table, int type,
                     const struct network_address *address, uint16_t port)
{
    const struct local_port *found = find_port(table, type, address, port);

    return found && found->fixed;
}

/* The accepted end of a connection has the port of a listener, whose address may be a wildcard. */
static bool has_listener(const struct port_table *table, const struct local_port *port)
{
    static const struct network_address wildcard6,
        wildcard4 = {.bytes = {[10] = 0xff, [11] = 0xff}};

    return is_fixed(table, port->type, &wildcard6, port->endpoint.port) ||
           (network_address_is_ipv4(&port->endpoint.address) &&
            is_fixed(table, port->type, &wildcard4, port->endpoint.port));
}

static int reserve_failed(const struct port_request *request, int result, struct error *error)
{
    struct network_endpoint endpoint = {.address = request->address, .port = request->port};
    CLEANUP(free_ptr) char *text = network_endpoint_text(&endpoint);

    if (result == -EADDRNOTAVAIL)
        return error_set(error, "address-missing", result, "%s", text);
    if (result == -EADDRINUSE && request->exact)
        return error_set(error, "address-taken", result, "%s", text);
    return error_set(error, "port-unavailable", result, "%s", text);
}

static int reserve_port(struct local_port *port, const struct network_plan *plan,
                        struct network_summary *summary, struct error *error)
{
    bool any = plan->fresh_ports && port->type == SOCK_STREAM && !port->fixed;
    struct port_request request = {.type = port->type,
                                   .address = port->endpoint.address,
                                   .port = any ? 0 : port->endpoint.port,
                                   .exact = port->fixed,
                                   .v6_only = port->v6_only,
                                   .reuse_address = port->reuse_address,
                                   .reuse_port = port->reuse_port};
    int r = plan->reserve(&request, &port->port, plan->context);

    if (r < 0)
        return reserve_failed(&request, r, error);
    if (request.exact)
        port->port = request.port;
    if (port->port == 0)
        return reserve_failed(&request, -EINVAL, error);
    summary->exchanged += port->port != port->endpoint.port;
    return 0;
}

static int reserve_all(struct port_table *table, const struct network_plan *plan,
                       struct network_summary *summary, struct error *error)
{
    int r = 0;

    for (size_t i = 0; i < table->count && r == 0; i++) {
        struct local_port *port = &table->ports[i];

        if (port->untried || (!port->fixed && has_listener(table, port)))
            continue;
        r = reserve_port(port, plan, summary, error);
    }
    return r;
}

static void apply_ports(const struct port_table *table, struct saved_socket *socket)
{
    const Criu__InetSocket *inet = saved_inet(socket);
    struct network_endpoint local = socket->local, remote = socket->remote;
    const struct local_port *found;

    if (socket->role != ROLE_INSIDE && socket->role != ROLE_DATAGRAM)
        return;
    found = find_port(table, (int)inet->type, &local.address, local.port);
    if (found)
        socket->local.port = found->port;
    found = find_port(table, (int)inet->type, &remote.address, remote.port);
    if (found)
        socket->remote.port = found->port;
    saved_socket_store(socket);
}

/* What several programs may share, or what can't be tried without its interface. */
static void mark_shared(struct port_table *table, const struct saved_sockets *saved)
{
    for (size_t i = 0; i < saved->count; i++) {
        const struct saved_socket *socket = &saved->sockets[i];
        struct local_port *port = NULL;

        if (socket->role != ROLE_UNIX && shares_port(socket))
            port = find_port(table, (int)saved_inet(socket)->type, &socket->local.address,
                             socket->local.port);
        if (port)
            port->untried = true;
    }
}

int network_exchange_ports(struct saved_sockets *saved, const struct network_plan *plan,
                           struct network_summary *summary, struct error *error)
{
    struct port_table table = {0};
    int r;

    if (!plan->reserve)
        return 0;
    r = collect_ports(saved, &table);
    if (r < 0)
        return error_set(error, "out-of-memory", r, "Can't look at the ports");
    mark_shared(&table, saved);
    r = reserve_all(&table, plan, summary, error);
    for (size_t i = 0; i < saved->count && r == 0; i++)
        apply_ports(&table, &saved->sockets[i]);
    free(table.ports);
    return r;
}
