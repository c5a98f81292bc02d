/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences for people, in events and conditions: what happened, why, what to do. */
#pragma once

#include <jansson.h>

#include "agent/work.h"
#include "basic/error.h"

struct kube_recorder;

/* The caller frees it. `result` as in agent/operation.h; NULL: it still runs. */
char *tidings_of_result(enum wish_kind kind, const json_t *result);

/* Events about a pod. Nothing is told of one that is not known, or to no recorder (NULL). */
void tidings_tell_complaint(struct kube_recorder *recorder, const struct node_pod *entry,
                            const struct error *error);
void tidings_tell_begin(struct kube_recorder *recorder, const struct work *work);
void tidings_tell_end(struct kube_recorder *recorder, struct work *work);
