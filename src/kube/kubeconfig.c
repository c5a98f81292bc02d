/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "http/printable.h"
#include "kube/base64.h"
#include "kube/config-token.h"
#include "kube/config.h"
#include "kube/object.h"
#include "kube/yaml-tree.h"

DEFINE_CLEANUP(free_config, struct kube_config *, kube_config_free)

static void release_json(json_t **json)
{
    json_decref(*json);
}

/* "what "name" rest", with a name that is fit to be seen. */
static int wrong(struct error *error, const char *what, const char *name, const char *rest)
{
    CLEANUP(free_ptr) char *clean = printable_copy(name, strlen(name), 200);

    (void)error_set(error, "kube-config", 0, "%s \"%s\"%s", what, clean, rest);
    return -EINVAL;
}

/* The member `kind` of the entry of a list that has a name. */
static const json_t *find_entry(const json_t *root, const char *list, const char *kind,
                                const char *name)
{
    size_t index;
    json_t *entry;

    json_array_foreach(json_object_get(root, list), index, entry)
    {
        if (text_equal(kube_text(entry, "name"), name))
            return kube_get(entry, kind);
    }
    return NULL;
}

/* A file by the name that it has beside the kubeconfig. */
static char *path_from(const json_t *object, const char *name, const char *directory)
{
    const char *path = kube_text(object, name);

    if (!path || !*path)
        return NULL;
    return *path == '/' ? text_copy(path) : text_format("%s/%s", directory, path);
}

static int data_from(const json_t *object, const char *name, char **ret, struct error *error)
{
    const char *text = kube_text(object, name);

    if (!text || !*text)
        return 0;
    *ret = base64_decode_text(text);
    return *ret ? 0 : wrong(error, "The value of", name, " is not base64 of a text");
}

static bool is_server(const char *server)
{
    const char *host = server ? strstr(server, "://") : NULL;

    if (!host || !(text_starts_with(server, "https://") || text_starts_with(server, "http://")))
        return false;
    for (const char *at = server; *at; at++) {
        if (*at <= ' ' || *at >= 0x7f || strchr("@?#\"\\", *at))
            return false;
    }
    return host[3] && host[3] != '/';
}

static int take_cluster(const json_t *cluster, const char *directory, struct kube_config *config,
                        struct error *error)
{
    const char *server = kube_text(cluster, "server"),
               *name = kube_text(cluster, "tls-server-name");
    size_t length;

    if (!is_server(server))
        return wrong(error, "There is no URL of an API server in", server ? server : "", "");
    if (kube_text(cluster, "proxy-url"))
        return wrong(error, "The setting", "proxy-url", " is not supported; set HTTPS_PROXY");
    config->server = text_copy(server);
    length = strlen(config->server);
    while (config->server[length - 1] == '/')
        config->server[--length] = '\0';
    if (name && *name) {
        if (strpbrk(name, "/@:?# \r\n"))
            return wrong(error, "There is no name of a server in", name, "");
        config->tls_server_name = text_copy(name);
    }
    config->insecure = text_equal(kube_text(cluster, "insecure-skip-tls-verify"), "true");
    config->ca_file = path_from(cluster, "certificate-authority", directory);
    return data_from(cluster, "certificate-authority-data", &config->ca_data, error);
}

static int refuse_plugins(const json_t *user, struct error *error)
{
    static const char *const kinds[] = {"exec", "auth-provider", "username", "as"};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (json_is_null(json_object_get(user, kinds[i])) || !json_object_get(user, kinds[i]))
            continue;
        (void)error_set(error, "kube-config-plugin", 0,
                        "The user of this context gets its credentials by \"%s\"", kinds[i]);
        return -EOPNOTSUPP;
    }
    return 0;
}

static int take_user(const json_t *user, const char *directory, struct kube_config *config,
                     struct error *error)
{
    const char *token = kube_text(user, "token");
    int r = refuse_plugins(user, error);

    if (r < 0)
        return r;
    if (token && *token && !kube_token_is_sound(token))
        return wrong(error, "The", "token", " has characters that no token has");
    config->token_file = path_from(user, "tokenFile", directory);
    if (token && *token && !config->token_file)
        config->token = text_copy(token);
    config->certificate_file = path_from(user, "client-certificate", directory);
    config->key_file = path_from(user, "client-key", directory);
    r = data_from(user, "client-certificate-data", &config->certificate_data, error);
    return r < 0 ? r : data_from(user, "client-key-data", &config->key_data, error);
}

static int take_context(const json_t *root, const char *name, const char *directory,
                        struct kube_config *config, struct error *error)
{
    const json_t *context = find_entry(root, "contexts", "context", name);
    const char *cluster_name = kube_text(context, "cluster"),
               *user_name = kube_text(context, "user");
    const char *space = kube_text(context, "namespace");
    const json_t *cluster, *user;
    int r;

    if (!context)
        return wrong(error, "There is no context", name, "");
    cluster = cluster_name ? find_entry(root, "clusters", "cluster", cluster_name) : NULL;
    if (!cluster)
        return wrong(error, "There is no cluster", cluster_name ? cluster_name : "", "");
    user = user_name ? find_entry(root, "users", "user", user_name) : NULL;
    if (user_name && *user_name && !user)
        return wrong(error, "There is no user", user_name, "");
    config->namespace = text_copy(space && *space ? space : "default");
    r = take_cluster(cluster, directory, config, error);
    return r < 0 ? r : take_user(user, directory, config, error);
}

int kube_config_parse(const char *text, size_t length, const char *directory, const char *context,
                      struct kube_config **ret, struct error *error)
{
    CLEANUP(release_json) json_t *root = NULL;
    CLEANUP(free_config) struct kube_config *config = allocate(sizeof *config);
    int r = yaml_parse(text, length, &root, error);

    if (r < 0)
        return r;
    if (!context)
        context = kube_text(root, "current-context");
    if (!context || !*context)
        return wrong(error, "It has no", "current-context", "");
    r = take_context(root, context, directory, config, error);
    if (r == 0)
        *ret = STEAL_PTR(config);
    return r;
}

static int from_one_file(const char *path, const char *context, struct kube_config **ret,
                         struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    CLEANUP(free_ptr) char *copy = text_copy(path);
    size_t length = 0;
    int r = file_read(AT_FDCWD, path, KUBE_FILE_MAXIMUM, &text, &length);

    if (r < 0)
        return error_set(error, "kube-config", r, "Can't read %s", path);
    r = kube_config_parse(text, length, dirname(copy), context, ret, error);
    return r < 0 ? error_wrap(error, r, "%s", path) : 0;
}

/* The files of $KUBECONFIG, in order; what is wrong with the last one is what is reported. */
static int from_list(const char *list, const char *context, struct kube_config **ret,
                     struct error *error)
{
    CLEANUP(free_ptr) char *copy = text_copy(list);
    char *rest = NULL;
    int r = -ENOENT;

    for (char *path = strtok_r(copy, ":", &rest); path; path = strtok_r(NULL, ":", &rest)) {
        r = from_one_file(path, context, ret, error);
        if (r == 0) {
            if (error)
                error_done(error);
            return 0;
        }
    }
    return r;
}

int kube_config_from_file(const char *path, const char *context, struct kube_config **ret,
                          struct error *error)
{
    const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
    CLEANUP(free_ptr) char *usual = text_format("%s/.kube/config", home ? home : "/root");

    if (path)
        return from_one_file(path, context, ret, error);
    if (list && *list)
        return from_list(list, context, ret, error);
    return from_one_file(usual, context, ret, error);
}
