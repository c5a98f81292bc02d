/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of sockets: always 16 bytes, IPv4 in the mapped form (::ffff:a.b.c.d), so that an IPv4
 * socket and a dual-stack one speak of the same address. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct network_address {
    uint8_t bytes[16];
};

struct network_endpoint {
    struct network_address address;
    uint16_t port;
};

/* "10.0.0.1", "fd00::1", "::ffff:10.0.0.1". 0 or -EINVAL. */
int network_address_parse(const char *text, struct network_address *ret);

/* "10.0.0.1", "fd00::1"; with a port "10.0.0.1:80", "[fd00::1]:80". The caller frees them. */
char *network_address_text(const struct network_address *address);
char *network_endpoint_text(const struct network_endpoint *endpoint);

bool network_address_equal(const struct network_address *a, const struct network_address *b);
bool network_address_is_ipv4(const struct network_address *address);
bool network_address_is_wildcard(const struct network_address *address);
bool network_address_is_loopback(const struct network_address *address);
bool network_address_is_link_local(const struct network_address *address); /* fe80::/10 only */

/* A group (multicast) or everybody (broadcast): nobody's own address. */
bool network_address_is_group(const struct network_address *address);

/* 127.0.0.1 or ::1, in the family of `like`. */
struct network_address network_address_loopback(const struct network_address *like);
