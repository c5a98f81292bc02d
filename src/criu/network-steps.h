/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of network_rewrite, in their order. Each changes `saved` and counts in `summary`. */
#pragma once

#include "criu/network-image.h"
#include "criu/network.h"

/* New addresses, and refusals of those that have none. */
int network_move_addresses(struct saved_sockets *saved, const struct network_plan *plan,
                           struct network_summary *summary, struct error *error);

/* Ports in the target: listening ones are free, those of connections inside are exchanged. */
int network_exchange_ports(struct saved_sockets *saved, const struct network_plan *plan,
                           struct network_summary *summary, struct error *error);

/* Connections whose peer is lost; writes their streams. */
int network_close_foreign(struct saved_sockets *saved, int images, int output,
                          const struct network_plan *plan, struct network_summary *summary,
                          struct error *error);

/* Names that the kernel gave. */
int network_rename_unix(struct saved_sockets *saved, const struct network_plan *plan,
                        struct network_summary *summary, struct error *error);
