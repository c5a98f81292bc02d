/* SPDX-License-Identifier: Apache-2.0 */
/* Ports held in the network namespace of this process while a restore goes on. */
#pragma once

#include "criu/network.h"

struct port_keeper {
    int *sockets;
    size_t count;
};

#define PORT_KEEPER_INIT ((struct port_keeper){0})

/* A port_reserve_function; `context` is a struct port_keeper. Call it in the network namespace in
 * which the restore will happen. */
int port_keeper_reserve(const struct port_request *request, uint16_t *ret_port, void *context);

/* Lets all of them go: when CRIU has answered. */
void port_keeper_done(struct port_keeper *keeper);
