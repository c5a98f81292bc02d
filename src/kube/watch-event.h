/* SPDX-License-Identifier: Apache-2.0 */
/* A line of a watch. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "basic/error.h"

enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };

struct watch_event {
    enum watch_type type;
    json_t *object; /* owned */
};

/* "kube-protocol" for what is no event. */
int watch_event_parse(const char *line, size_t length, struct watch_event *ret,
                      struct error *error);

void watch_event_done(struct watch_event *event);
