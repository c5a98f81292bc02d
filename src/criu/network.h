/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network identity of processes that are restored somewhere else: another address, another
 * network namespace, several copies in one. CRIU restores sockets exactly as they were and has no
 * hook for this, so its images are rewritten before it reads them. See docs/network.md.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "criu/network-address.h"

/* An address of the source, and the one that takes its place (it may be the same one). Both are
 * IPv4 or both are IPv6. */
struct network_move {
    struct network_address from, to;
    const char *from_interface; /* NULL: any. Tells link-local addresses apart */
    const char *to_interface;   /* NULL: the same. Sockets bound to that interface follow, too */
};

enum foreign_policy {
    FOREIGN_CLOSE,  /* the program sees a lost peer */
    FOREIGN_KEEP,   /* they come back, for a restore at the same address with a peer that waits */
    FOREIGN_REFUSE, /* "tcp-outside" */
};

struct port_request {
    int type; /* SOCK_STREAM, SOCK_DGRAM */
    struct network_address address;
    uint16_t port; /* wanted; 0: any */
    bool exact;    /* this one or none, and only to see whether it is free: nothing is held */
    bool v6_only;
    bool reuse_address, reuse_port; /* of exact ones: what the saved socket had */
};

/*
 * Takes a port in the network namespace in which the restore will happen, and holds it until the
 * restore is over in a way that lets CRIU bind to it (SO_REUSEADDR, not listening). A wanted port
 * that is taken is answered with another one, an exact one with -EADDRINUSE; -EADDRNOTAVAIL when
 * there is no such address. port_keeper_reserve in criu/network-ports.h is one.
 */
typedef int port_reserve_function(const struct port_request *request, uint16_t *ret_port,
                                  void *context);

struct network_plan {
    const struct network_move *moves;
    size_t move_count;
    enum foreign_policy foreign;
    bool fresh_ports;               /* connections inside get new ports even if theirs are free */
    port_reserve_function *reserve; /* NULL: all ports stay and none is looked at */
    void *context;                  /* of `reserve` */
    const char *clone; /* NULL, or what makes kernel-given unix names unique: letters, digits, '-',
                          '_'; at most 40 */
};

struct network_summary {
    size_t moved;     /* sockets with another address */
    size_t exchanged; /* ports */
    size_t inside;    /* connections with both ends in the images */
    size_t closed;    /* connections whose peer is lost */
    size_t renamed;   /* unix sockets */
};

/*
 * Reads the sockets in `images` (a directory, not changed) and writes the files that have to be
 * different to the directory `output`: files.img and tcp-stream-*.img. They take the place of those
 * with the same names; where nothing had to change nothing is written. After a failure the contents
 * of `output` are of no use.
 * Codes: "address-missing" (the message lists all), "address-link-local", "address-taken",
 * "address-pair", "port-unavailable", "tcp-outside", "clone-name", "socket-image".
 */
int network_rewrite(int images, int output, const struct network_plan *plan,
                    struct network_summary *ret, struct error *error);

/*
 * What there is, for people and for callers that make a plan:
 * {"addresses": [own ones that are neither wildcard nor loopback],
 *  "listeners": [{"address", "port", "family", "v6_only"}],
 *  "inside": [{"local", "remote", "state"}] (one for each end),
 *  "foreign": [{"local", "remote", "state", "unread", "unsent"}],
 *  "udp": [{"local", "remote"}], "other": [{"local"}],
 *  "unix": [{"name", "kind", "type", "listening"}]} where kind is "path", "abstract" or "kernel"
 * (given by the kernel or the CUDA library; these are renamed for clones).
 */
int network_describe(int images, json_t **ret, struct error *error);
