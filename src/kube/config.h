/* SPDX-License-Identifier: Apache-2.0 */
/* Where the API server is, how it proves who it is, and how we do: from a pod's service account, or
 * from a kubeconfig file (kubernetes.io, "Organizing Cluster Access Using kubeconfig Files"). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"

#define KUBE_FILE_MAXIMUM ((size_t)4 << 20) /* of a kubeconfig, and of a file that it names */

struct kube_config {
    char *server;          /* "https://10.0.0.1:6443", without a slash at the end */
    char *tls_server_name; /* NULL: the host of `server` */
    char *namespace;       /* where things go that nobody gave a namespace; never NULL */
    bool insecure;         /* don't check who the server is */

    /* Each as the path of a file, or as PEM text; NULL when there is none. */
    char *ca_file, *ca_data;
    char *certificate_file, *certificate_data;
    char *key_file, *key_data;

    char *token;      /* fixed, or what was last read from token_file */
    char *token_file; /* read again when older than a minute */
    uint64_t token_read_usec;
};

/* The service account of the pod that this runs in. `root` is put before its paths (tests); NULL in
 * a real pod. "kube-config" when this is no pod, or it has no service account. */
int kube_config_in_cluster(const char *root, struct kube_config **ret, struct error *error);

/* `path` NULL: each file of $KUBECONFIG that there is, the first that has the context wins, or
 * ~/.kube/config. `context` NULL: the current one. "kube-config"; "kube-config-plugin" when
 * credentials come from a program or a provider, which is not supported. */
int kube_config_from_file(const char *path, const char *context, struct kube_config **ret,
                          struct error *error);

/* The same of the text of a file; relative names are below `directory`. */
int kube_config_parse(const char *text, size_t length, const char *directory, const char *context,
                      struct kube_config **ret, struct error *error);

/* What the client of a node or of a person wants: in the cluster when this is a pod, else the file.
 */
int kube_config_find(struct kube_config **ret, struct error *error);

/* The token to use at `now_usec` of some monotonic clock; NULL when there is none. `again`: the
 * last one was refused, so its file is read now. A file that can't be read leaves the last token.
 * The text is the config's. */
const char *kube_config_token(struct kube_config *config, uint64_t now_usec, bool again);

void kube_config_free(struct kube_config *config);
