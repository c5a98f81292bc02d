/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be looked at, by key. A key waits at most once, is worked on by one at a time, and
 * when it is added while it is worked on it comes again afterwards. Work is asynchronous: the
 * function starts it, kube_queue_done() says that it has ended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"

struct kube_queue;

/* Begins work on a key, which is the queue's. It ends with kube_queue_done(), here or later. */
typedef void kube_work_function(struct kube_queue *queue, const char *key, void *context);

struct kube_queue_options {
    unsigned at_once;          /* keys worked on at the same time; 0: 1 */
    unsigned retry_least_msec; /* 0: 5 */
    unsigned retry_most_msec;  /* 0: 300,000 */
    kube_work_function *work;
    void *context;
};

struct kube_queue *kube_queue_new(struct loop *loop, const struct kube_queue_options *options);

/* Whatever is being worked on must not say done any more. NULL is accepted. */
void kube_queue_free(struct kube_queue *queue);

/* As soon as possible, in order; never from within this call. */
void kube_queue_add(struct kube_queue *queue, const char *key);

/* Not before that time has passed; the earliest of several counts. */
void kube_queue_add_after(struct kube_queue *queue, const char *key, uint64_t delay_usec);

enum kube_outcome {
    KUBE_WORK_DONE,  /* forget that it ever failed */
    KUBE_WORK_RETRY, /* again, after a pause that doubles each time from the least to the most */
};

void kube_queue_done(struct kube_queue *queue, const char *key, enum kube_outcome outcome);

/* How often in a row the key has been retried. */
unsigned kube_queue_failures(const struct kube_queue *queue, const char *key);

bool kube_queue_is_working(const struct kube_queue *queue, const char *key);
size_t kube_queue_waiting(const struct kube_queue *queue); /* now or at a later time */
size_t kube_queue_working(const struct kube_queue *queue);
