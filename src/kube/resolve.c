/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/cleanup.h"
#include "basic/text.h"

#define KEPT_USEC ((uint64_t)60 * 1000000)

enum { TEXT_MAXIMUM = 4096 };

struct kube_resolver {
    char *host, *port, *server;
    char *answer;
    uint64_t answered_usec;
};

struct kube_resolver *kube_resolver_new(const char *url)
{
    struct kube_resolver *resolver = allocate(sizeof *resolver);
    const char *host = strstr(url, "://") + strlen("://");
    const char *end = host + strcspn(host, "/");
    const char *bracket = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
    const char *colon =
        memchr(bracket ? bracket : host, ':', (size_t)(end - (bracket ? bracket : host)));
    const char *host_end = colon ? colon : end;

    resolver->host = bracket ? text_format("%.*s", (int)(bracket - host - 1), host + 1)
                             : text_format("%.*s", (int)(host_end - host), host);
    if (colon)
        resolver->port = text_format("%.*s", (int)(end - colon - 1), colon + 1);
    else
        resolver->port = text_copy(text_starts_with(url, "https:") ? "443" : "80");
    resolver->server = text_format("%.*s:%s", (int)(host_end - host), host, resolver->port);
    return resolver;
}

void kube_resolver_free(struct kube_resolver *resolver)
{
    if (!resolver)
        return;
    free(resolver->host);
    free(resolver->port);
    free(resolver->server);
    free(resolver->answer);
    free(resolver);
}

const char *kube_resolver_server(const struct kube_resolver *resolver)
{
    return resolver->server;
}

void kube_resolver_forget(struct kube_resolver *resolver)
{
    free(STEAL_PTR(resolver->answer));
}

static bool is_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void append_address(struct buffer *text, const struct addrinfo *found)
{
    char address[NI_MAXHOST];
    const char *comma = text->length > 0 && text->data[text->length - 1] != ':' ? "," : "";

    if (getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, NULL, 0,
                    NI_NUMERICHOST) != 0 ||
        strchr(address, '%'))
        return;
    (void)buffer_printf(text, found->ai_family == AF_INET6 ? "%s[%s]" : "%s%s", comma, address);
}

static int look_up(struct kube_resolver *resolver, struct error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct buffer text = BUFFER_INIT(TEXT_MAXIMUM);
    int r = getaddrinfo(resolver->host, resolver->port, &hints, &found);

    if (r != 0) {
        (void)error_set(error, "kube-unreachable", 0, "Can't find the address of %s: %s",
                        resolver->host, gai_strerror(r));
        return -EHOSTUNREACH;
    }
    (void)buffer_printf(&text, "%s:%s:", resolver->host, resolver->port);
    for (const struct addrinfo *one = found; one; one = one->ai_next)
        append_address(&text, one);
    freeaddrinfo(found);
    resolver->answer = text.data;
    return 0;
}

int kube_resolver_ask(struct kube_resolver *resolver, const struct loop *loop, const char **ret,
                      struct error *error)
{
    int r = 0;

    *ret = NULL;
    if (is_address(resolver->host))
        return 0;
    if (resolver->answer && loop_now(loop) - resolver->answered_usec > KEPT_USEC)
        kube_resolver_forget(resolver);
    if (!resolver->answer) {
        r = look_up(resolver, error);
        resolver->answered_usec = loop_now(loop);
    }
    if (r == 0)
        *ret = resolver->answer;
    return r;
}
