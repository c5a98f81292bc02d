/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of the API server. libcurl would start a thread to look up a name, and this process
 * forks; in a pod the server is an address anyway. So a name is looked up here, waiting for it, and
 * the answer is kept for a minute.
 */
#pragma once

#include "basic/error.h"
#include "loop/loop.h"

struct kube_resolver;

/* For the server of a URL. */
struct kube_resolver *kube_resolver_new(const char *url);
void kube_resolver_free(struct kube_resolver *resolver);

/* "host:port:address,address" for CURLOPT_RESOLVE; NULL in `ret` when the host is an address. The
 * text is the resolver's. "kube-unreachable" */
int kube_resolver_ask(struct kube_resolver *resolver, const struct loop *loop, const char **ret,
                      struct error *error);

/* "host:port" of the server. */
const char *kube_resolver_server(const struct kube_resolver *resolver);

/* Look it up again next time. */
void kube_resolver_forget(struct kube_resolver *resolver);
