/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases of coordination.k8s.io/v1: one holder at a time. Whoever finds the lease of another waits
 * until it has seen it unchanged for its whole duration by its own clock (clocks of machines are
 * not compared), and a holder that could not renew stops believing before that: after two thirds of
 * the duration, counted from before its last renewal was sent.
 */
#pragma once

#include <stdbool.h>

#include "kube/client.h"

struct kube_lease;

struct kube_lease_options {
    const char *namespace;
    const char *name;
    const char *holder;    /* who we are: unique among all who want it, and among our lives */
    unsigned duration_sec; /* 0: 15 */
    const json_t *labels;  /* of a lease that is made; may be NULL */
    const json_t *owners;  /* its ownerReferences: with the last of them it goes; may be NULL */
    bool once;             /* don't wait for another holder: `lost` says that there is one */

    /* All may release or free the lease. */
    void (*acquired)(void *context);

    /* No longer ours, or (with `once`) not to be had: error "kube-lease-held"; or it could not be
     * renewed: the error of that. It tries again by itself, except with `once`. */
    void (*lost)(const struct error *error, void *context);
    void *context;
};

/* Begins to acquire. Texts are copied. */
struct kube_lease *kube_lease_new(struct kube_client *client,
                                  const struct kube_lease_options *options);

bool kube_lease_held(const struct kube_lease *lease);

/* Gives it up so that others need not wait, and calls `released` (may be NULL) when the server has
 * been told or could not be, at the latest after a few seconds. It is not held from the call on.
 * Then free it. */
void kube_lease_release(struct kube_lease *lease, void (*released)(void *context));

/* Without telling the server: others wait for the duration. NULL is accepted. */
void kube_lease_free(struct kube_lease *lease);
