/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds about sockets share. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common.h"

/* A connection whose both ends are here, with bytes on their way in both directions. */
struct connection {
    int a;
    int b;
    size_t in_flight;
};

int connection_put(const struct connection *pair, uint64_t n);
int connection_take(const struct connection *pair, uint64_t n);

/* Messages, each a datagram or packet, from one socket to the other. */
int messages_put(int from, unsigned int count, uint64_t n);
int messages_take(int to, unsigned int count, uint64_t n);

struct sockaddr_un unix_address(const char *path);
/* The name in the abstract namespace, without its leading NUL. */
struct sockaddr_un abstract_address(const char *name, socklen_t *ret_size);

/* On 127.0.0.1, on a port the kernel chooses. */
int loopback_socket(int type, struct sockaddr_in *ret_address);
int loopback_listener(struct sockaddr_in *ret_address);
int connect_socket(int family, int type, const void *address, socklen_t size);
int get_option(int fd, int level, int option);
