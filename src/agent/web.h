/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's HTTP pages, by libmicrohttpd in the agent's loop: /health, /ready, /metrics, and,
 * with signalSource http, the API of ChReK: POST /checkpoint, GET /checkpoints.
 */
#pragma once

#include "agent/metrics.h"
#include "agent/reconciler.h"
#include "agent/settings.h"
#include "loop/loop.h"

struct web;

struct web_options {
    struct loop *loop;
    const struct agent_settings *settings; /* listen_address: "[HOST]:PORT" */
    struct reconciler *reconciler;
    struct metrics *metrics;
};

/* "agent-listen" */
int web_new(const struct web_options *options, struct web **ret, struct error *error);
void web_free(struct web *web);

/* "HOST:PORT", ":PORT" or "[v6]:PORT"; NULL host: all addresses. The caller frees it. -EINVAL */
int web_parse_address(const char *text, char **ret_host, int *ret_port);
