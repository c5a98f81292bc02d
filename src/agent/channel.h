/* SPDX-License-Identifier: Apache-2.0 */
/* JSON objects, a line each, over a socket between two parts of the agent, without blocking. */
#pragma once

#include <jansson.h>

#include "basic/error.h"
#include "loop/loop.h"

#define CHANNEL_MAXIMUM ((size_t)16 << 20) /* of a line, and of what waits to be sent */

struct channel;

/* The message is borrowed. */
typedef void channel_message_function(json_t *message, void *context);

/* The other side has closed, or broken the rules ("agent-channel"); nothing comes after it. */
typedef void channel_end_function(const struct error *error, void *context);

/* Takes the descriptor over, also when it fails. */
int channel_new(struct loop *loop, int fd, channel_message_function *message,
                channel_end_function *end, void *context, struct channel **ret,
                struct error *error);

/* Takes the message over. What can't be sent any more ends the channel. */
void channel_send(struct channel *channel, json_t *message);

/* NULL is accepted. Not from within its own functions. */
void channel_free(struct channel *channel);
