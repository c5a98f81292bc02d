/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That a container of a Job is being saved, as those see it who wait for the Job: a lease in its
 * namespace, of its name. A Job that is complete and has no word about its capture yet is not to be
 * given up while that lease is renewed.
 */
#pragma once

#include "kube/client.h"

struct holds; /* all of an agent */
struct hold;

/* `node` is in the name of the holder. */
struct holds *holds_new(struct kube_client *client, const char *node);

/* Holds until hold_drop(). Where the lease can't be had the capture goes on without it. It goes
 * with the Job, if no agent is there any more to remove it; `uid` of the Job may be NULL. */
struct hold *hold_take(struct holds *holds, const char *namespace, const char *job,
                       const char *uid);

/* The lease is removed; `hold` is gone with this call. NULL is accepted. */
void hold_drop(struct hold *hold);

/* Without telling the server: what was held ends by its time. NULL is accepted. */
void holds_free(struct holds *holds);
