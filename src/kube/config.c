/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "kube/config-token.h"

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_AGE_USEC ((uint64_t)60 * 1000000)
#define TOKEN_MAXIMUM ((size_t)64 << 10)

/* Tokens end in a newline when people made the file; within one there is nothing that could end a
 * line of a header. */
char *kube_token_read(const char *path)
{
    char *token = NULL;
    size_t length = 0;

    if (file_read(AT_FDCWD, path, TOKEN_MAXIMUM, &token, &length) < 0)
        return NULL;
    while (length > 0 && strchr("\r\n \t", token[length - 1]))
        token[--length] = '\0';
    if (length == 0 || !kube_token_is_sound(token)) {
        free(token);
        return NULL;
    }
    return token;
}

bool kube_token_is_sound(const char *token)
{
    for (const char *at = token; *at; at++) {
        if (*at <= ' ' || *at == 0x7f)
            return false;
    }
    return *token != '\0';
}

const char *kube_config_token(struct kube_config *config, uint64_t now_usec, bool again)
{
    char *token;

    if (!config->token_file)
        return config->token;
    if (config->token && !again && now_usec - config->token_read_usec < TOKEN_AGE_USEC)
        return config->token;
    token = kube_token_read(config->token_file);
    if (token) {
        free(config->token);
        config->token = token;
        config->token_read_usec = now_usec;
    }
    return config->token;
}

void kube_config_free(struct kube_config *config)
{
    if (!config)
        return;
    free(config->server);
    free(config->tls_server_name);
    free(config->namespace);
    free(config->ca_file);
    free(config->ca_data);
    free(config->certificate_file);
    free(config->certificate_data);
    free(config->key_file);
    free(config->key_data);
    free(config->token);
    free(config->token_file);
    free(config);
}

static char *in_cluster_server(void)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");

    if (!host || !*host || !port || !*port || strpbrk(host, "/@?# "))
        return NULL;
    return text_format(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
}

static char *read_namespace(const char *root)
{
    CLEANUP(free_ptr) char *path = text_format("%s" ACCOUNT "/namespace", root);
    char *name = kube_token_read(path);

    return name ? name : text_copy("default");
}

int kube_config_in_cluster(const char *root, struct kube_config **ret, struct error *error)
{
    struct kube_config *config;
    char *server = in_cluster_server();

    if (!server) {
        (void)error_set(error, "kube-config", 0,
                        "This is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT don't "
                        "name an API server");
        return -ENOENT;
    }
    config = allocate(sizeof *config);
    config->server = server;
    config->token_file = text_format("%s" ACCOUNT "/token", root ? root : "");
    config->ca_file = text_format("%s" ACCOUNT "/ca.crt", root ? root : "");
    config->namespace = read_namespace(root ? root : "");
    config->token = kube_token_read(config->token_file);
    if (!config->token) {
        (void)error_set(error, "kube-config", 0, "There is no token of a service account in %s",
                        config->token_file);
        kube_config_free(config);
        return -ENOENT;
    }
    *ret = config;
    return 0;
}

int kube_config_find(struct kube_config **ret, struct error *error)
{
    if (getenv("KUBECONFIG") || kube_config_in_cluster(NULL, ret, NULL) < 0)
        return kube_config_from_file(NULL, NULL, ret, error);
    return 0;
}
