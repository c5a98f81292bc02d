/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin's end of the conversation with the CUDA worker. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "cuda/plugin-protocol.h"

/* Takes the socket that the environment names. 0: there is none; 1: taken; negative: the variable
 * is wrong. */
int channel_open(void);
void channel_close(void);
bool channel_is_open(void);

/*
 * Asks and waits for the answer; `pid` (0: none) is passed as a pidfd. While waiting, `idle` (or
 * NULL) is called a few times a second and ends the wait by a negative result. Returns the answer's
 * result, or a negative errno when there was none (the text says what).
 */
int channel_ask(struct plugin_request *request, pid_t pid, int (*idle)(void *), void *context,
                struct plugin_reply *reply);

/* From now on answers are waited for at most that long; 0: without limit. */
void channel_set_deadline(unsigned msec);
