/* SPDX-License-Identifier: Apache-2.0 */
/* What the back ends share: reading JSON that a runtime wrote, and looking at the process that it
 * names. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"
#include "container/runtime.h"

/* Of one JSON document (a spec, a state file): the largest text and the most values and levels. */
#define RECORD_BYTES_MAXIMUM ((size_t)16 << 20)
#define RECORD_VALUES_MAXIMUM ((size_t)1 << 20)
#define RECORD_DEPTH_MAXIMUM ((size_t)64)

/* Parses an object. `what` is for the message. "container-record". */
int record_parse(const char *data, size_t length, const char *what, json_t **ret,
                 struct error *error);

/* Reads and parses a file below `directory`. "container-record"; -ENOENT says that it is not
 * there. */
int record_read(int directory, const char *path, const char *what, json_t **ret,
                struct error *error);

/* Member of an object; NULL when it is not there or no text. */
const char *record_text(const json_t *object, const char *name);

/* A copy without control characters; NULL for NULL and "". */
char *record_clean(const char *text);

/* Whether this can be an id of a container, and thus a name of a directory. */
bool record_is_id(const char *text);

int record_error(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A process id in a member `name`: 0 when it is not there or 0. "container-record". */
int record_pid(const json_t *object, const char *name, const char *what, pid_t *ret,
               struct error *error);

/* Looks at container->pid and sets start_time, and state when the control group is frozen. The
 * process has to have that `start_time`; when it is not known (0) and the spec names a control
 * group, it has to be in that. "container-not-running", "container-process". */
int record_check_process(struct container *container, uint64_t start_time, struct error *error);

/* "container-not-running" for a container that has no process, telling why. */
int record_not_running(const struct container *container, const char *why, struct error *error);

/* Fills what is still unknown of pod, name and image from the annotations that containerd and CRI-O
 * put into the spec, and from the labels that a kubelet puts onto containers. */
void record_fill_names(struct container *container);
