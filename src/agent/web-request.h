/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request and its answer, which may take as long as a checkpoint does. */
#pragma once

#include <stddef.h>

#include "agent/metrics.h"
#include "agent/reconciler.h"
#include "agent/settings.h"

struct MHD_Connection;

struct web_place {
    const struct agent_settings *settings;
    struct reconciler *reconciler;
    struct metrics *metrics;
    void (*wake)(void *context); /* the server has something to do again */
    void *context;
};

struct web_request;

struct web_request *web_request_new(const struct web_place *place,
                                    struct MHD_Connection *connection, const char *method,
                                    const char *path);

/* A piece of the body. */
void web_request_data(struct web_request *request, const char *data, size_t length);

/* The request is complete (called again when its operation has ended). 0 or -EIO. */
int web_request_answer(struct web_request *request);

/* The connection is gone. An operation that was begun goes on. NULL is accepted. */
void web_request_free(struct web_request *request);
