/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/http-exchange.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "http/printable.h"

#define CONNECT_MSEC 10000L

enum {
    ALIVE_IDLE_SEC = 15, /* a connection on which nothing comes is asked for a sign of life */
    ALIVE_PAUSE_SEC = 5,
    ALIVE_TRIES = 3,
    UNACKNOWLEDGED_MSEC = 30000, /* and so is one on which what we sent is not taken */
};

static int set_socket(void *context, curl_socket_t socket, curlsocktype purpose)
{
    static const struct {
        int name, value;
    } options[] = {{TCP_KEEPIDLE, ALIVE_IDLE_SEC},
                   {TCP_KEEPINTVL, ALIVE_PAUSE_SEC},
                   {TCP_KEEPCNT, ALIVE_TRIES},
                   {TCP_USER_TIMEOUT, UNACKNOWLEDGED_MSEC},
                   {TCP_NODELAY, 1}};
    int on = 1;

    (void)context;
    (void)purpose;
    (void)setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        (void)setsockopt(socket, IPPROTO_TCP, options[i].name, &options[i].value, sizeof(int));
    return CURL_SOCKOPT_OK;
}

static bool add_header(struct http_exchange *exchange, const char *name, const char *value)
{
    CLEANUP(free_ptr) char *line = text_format("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(exchange->headers, line);

    if (longer)
        exchange->headers = longer;
    return longer != NULL;
}

static bool add_headers(struct http_exchange *exchange, const struct kube_wire_request *request)
{
    CLEANUP(free_ptr)
    char *bearer = request->token ? text_format("Bearer %s", request->token) : NULL;
    bool good = add_header(exchange, "Accept", "application/json");

    if (request->body)
        good = good && add_header(exchange, "Content-Type", request->content_type) &&
               add_header(exchange, "Expect", "");
    if (bearer)
        good = good && add_header(exchange, "Authorization", bearer);
    return good && !curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, exchange->headers);
}

static bool set_blob(CURL *easy, CURLoption option, const char *text)
{
    struct curl_blob blob = {.data = (void *)(uintptr_t)text, /* only read */
                             .len = strlen(text),
                             .flags = CURL_BLOB_COPY};

    return !curl_easy_setopt(easy, option, &blob);
}

/* As a file or as text. */
static bool set_pem(CURL *easy, const char *file, CURLoption file_option, const char *data,
                    CURLoption data_option)
{
    if (data)
        return set_blob(easy, data_option, data);
    return !file || !curl_easy_setopt(easy, file_option, file);
}

static bool set_trust(CURL *easy, const struct kube_config *config)
{
    bool good = true;

    if (config->ca_data || config->ca_file)
        good = !curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) &&
               set_pem(easy, config->ca_file, CURLOPT_CAINFO, config->ca_data, CURLOPT_CAINFO_BLOB);
#if LIBCURL_VERSION_NUM >= 0x075700
    good = good && !curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 60L); /* it may be renewed */
#endif
    if (config->insecure)
        good = good && !curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L) &&
               !curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    return good &&
           set_pem(easy, config->certificate_file, CURLOPT_SSLCERT, config->certificate_data,
                   CURLOPT_SSLCERT_BLOB) &&
           set_pem(easy, config->key_file, CURLOPT_SSLKEY, config->key_data, CURLOPT_SSLKEY_BLOB);
}

/* Another name for TLS is put into the URL, and the connection goes where it would have gone. */
static char *make_url(struct http_exchange *exchange, const char *target)
{
    const struct kube_config *config = exchange->http->config;
    const char *path = strchr(strstr(config->server, "://") + strlen("://"), '/');
    CLEANUP(free_ptr) char *to = NULL;

    if (!config->tls_server_name)
        return text_format("%s%s", config->server, target);
    to = text_format("::%s", kube_resolver_server(exchange->http->resolver));
    exchange->connect_to = curl_slist_append(NULL, to);
    return text_format("https://%s%s%s", config->tls_server_name, path ? path : "", target);
}

static bool set_address(struct http_exchange *exchange, const char *target, const char *address)
{
    CLEANUP(free_ptr) char *url = make_url(exchange, target);
    CURL *easy = exchange->easy;

    if (address)
        exchange->addresses = curl_slist_append(NULL, address);
    return !curl_easy_setopt(easy, CURLOPT_URL, url) &&
           !curl_easy_setopt(easy, CURLOPT_RESOLVE, exchange->addresses) &&
           !curl_easy_setopt(easy, CURLOPT_CONNECT_TO, exchange->connect_to);
}

static bool set_body(struct http_exchange *exchange, const struct kube_wire_request *request)
{
    CURL *easy = exchange->easy;
    bool good = true;

    if (request->body) {
        exchange->body = allocate(request->body_length + 1);
        memcpy(exchange->body, request->body, request->body_length);
        good = !curl_easy_setopt(easy, CURLOPT_POST, 1L) &&
               !curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                                 (curl_off_t)request->body_length) &&
               !curl_easy_setopt(easy, CURLOPT_POSTFIELDS, exchange->body);
    }
    if (!text_equal(request->method, request->body ? "POST" : "GET"))
        good = good && !curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    return good;
}

/* HTTP/1.1: every API server has it, a watch has its connection for itself, and the libcurl of
 * Debian 12 loses connections that are shared by several requests of HTTP/2. */
static bool set_manner(struct http_exchange *exchange)
{
    CURL *easy = exchange->easy;

    return !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") &&
           !curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
           !curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MSEC) &&
           !curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, set_socket) &&
           !curl_easy_setopt(easy, CURLOPT_USERAGENT, "stasis/" STASIS_VERSION) &&
           !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->problem);
}

int http_exchange_prepare(struct http_exchange *exchange, const struct kube_wire_request *request,
                          struct error *error)
{
    const char *address = NULL;
    int r = kube_resolver_ask(exchange->http->resolver, exchange->http->loop, &address, error);

    if (r < 0)
        return r;
    exchange->easy = curl_easy_init();
    if (!exchange->easy || !set_address(exchange, request->target, address) ||
        !set_body(exchange, request) || !add_headers(exchange, request) ||
        !set_trust(exchange->easy, exchange->http->config) || !set_manner(exchange))
        return error_set(error, "out-of-memory", ENOMEM, "Can't prepare a request to %s",
                         exchange->http->config->server);
    return 0;
}

static bool is_about_trust(CURLcode result)
{
    return result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE ||
           result == CURLE_SSL_CERTPROBLEM || result == CURLE_SSL_ISSUER_ERROR;
}

void http_exchange_explain(const struct http_exchange *exchange, CURLcode result,
                           struct error *error)
{
    const char *server = exchange->http->config->server;
    const char *said = *exchange->problem ? exchange->problem : curl_easy_strerror(result);
    CLEANUP(free_ptr) char *problem = printable_copy(said, strlen(said), CURL_ERROR_SIZE);
    long number = 0;

    (void)curl_easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &number);
    kube_resolver_forget(exchange->http->resolver);
    if (is_about_trust(result)) {
        (void)error_set(error, "kube-untrusted", 0, "No trusted connection to %s: %s", server,
                        problem);
        return;
    }
    if (result == CURLE_OPERATION_TIMEDOUT) {
        (void)error_set(error, "kube-timeout", 0, "%s does not answer: %s", server, problem);
        return;
    }
    if (result == CURLE_OUT_OF_MEMORY) {
        (void)error_set(error, "out-of-memory", ENOMEM, "Can't talk to %s", server);
        return;
    }
    if (result == CURLE_WEIRD_SERVER_REPLY || result == CURLE_BAD_CONTENT_ENCODING ||
        result == CURLE_UNSUPPORTED_PROTOCOL) {
        (void)error_set(error, "kube-protocol", 0, "%s is no API server: %s", server, problem);
        return;
    }
    (void)error_set(error, "kube-unreachable", 0, "Can't talk to %s: %s", server, problem);
    if (error && number > 0)
        error->number = (int)number;
}
